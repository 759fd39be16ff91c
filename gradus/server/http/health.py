"""`GET /health` and `/version`."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import gradus
from gradus.errors import EngineStoppingError
from gradus.server.http.answers import HEALTH, VERSION
from gradus.server.http.context import context_of
from gradus.server.http.errors import ApiError, describe
from gradus.server.http.openapi import answers_with

router = APIRouter(tags=["server"])


@router.head("/health", include_in_schema=False)
@router.get("/health", openapi_extra=answers_with(HEALTH))
async def health(request: Request) -> Response:
    """200 while requests can be served; 503 when the engine is dead, stuck or being stopped."""
    context = context_of(request)
    seconds = context.settings.health_stall_seconds
    if context.service.engine.is_healthy(seconds):
        return JSONResponse({"status": "ok"})
    if context.service.engine.is_stopping:
        stopping = EngineStoppingError("the server is shutting down")
        status, body, headers = describe(stopping)
        return JSONResponse(body, status, headers)
    error = ApiError(
        f"the engine is dead, or has not completed a step for {seconds:g} seconds",
        status=503,
        code="unhealthy",
    )
    return JSONResponse(describe(error)[1], error.status)


@router.get("/version", openapi_extra=answers_with(VERSION))
async def version() -> dict[str, Any]:
    """The server's version."""
    return {"version": gradus.__version__}
