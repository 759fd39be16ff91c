"""`GET /metrics`: for Prometheus."""

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gradus.server.http.context import context_of
from gradus.server.http.errors import ApiError
from gradus.server.http.openapi import answers_with

router = APIRouter(tags=["server"])

_ABOUT = answers_with({"type": "string"}, "text/plain", "application/openmetrics-text")


@router.get("/metrics", response_class=PlainTextResponse, openapi_extra=_ABOUT)
async def metrics(request: Request) -> Response:
    """The server's metrics in the Prometheus text format."""
    exposition = context_of(request).exposition
    if exposition is None:
        raise ApiError("metrics are off: the server was started with --no-metrics", status=404)
    # It takes milliseconds, the first time tens of them: in a thread, streams go on meanwhile.
    body, content_type = await asyncio.to_thread(exposition.render, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})
