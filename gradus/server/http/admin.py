"""What only the operator may ask: `GET /debug/trace`."""

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gradus.server.http.answers import TRACE
from gradus.server.http.context import context_of
from gradus.server.http.errors import ApiError
from gradus.server.http.openapi import answers_with
from gradus.server.http.sse import to_json


async def require_admin(request: Request) -> None:
    """Who may ask. There are no keys yet, so whoever reaches the server is its operator."""


router = APIRouter(tags=["admin"], dependencies=[Depends(require_admin)])


@router.get("/debug/trace", openapi_extra=answers_with(TRACE))
async def trace(request: Request) -> Response:
    """The last requests and the engine's steps, as a Chrome trace for ui.perfetto.dev. No text is in it."""
    service = context_of(request).service
    buffer = service.observer.trace
    if buffer is None:
        raise ApiError("traces are off: the server was started with --trace-requests 0", status=404)
    body: dict[str, Any] = buffer.chrome_trace(service.engine.recent_steps())
    headers = {"content-disposition": 'attachment; filename="gradus-trace.json"'}
    return Response(to_json(body), media_type="application/json", headers=headers)
