"""Errors in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`, and their status codes."""

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gradus.errors import (
    ContextOverflowError,
    EngineDeadError,
    EngineStoppingError,
    GradusError,
    InvalidRequestError,
    QueueFullError,
    RequestFailedError,
)
from gradus.server.observe.context import current_request

logger = logging.getLogger("gradus.server")

_TYPE_OF_STATUS = {400: "invalid_request_error", 429: "rate_limit_error", 503: "service_unavailable_error"}


class ApiError(Exception):
    """A request that the HTTP layer itself refuses.

    `code` is one of OpenAI's machine-readable reasons, such as "unknown_parameter".
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers


def describe(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers for an error."""
    api_error = _as_api_error(error)
    kind = _TYPE_OF_STATUS.get(api_error.status)
    if kind is None:
        kind = "invalid_request_error" if api_error.status < 500 else "server_error"
    body = {"message": str(api_error), "type": kind, "param": api_error.param, "code": api_error.code}
    return api_error.status, {"error": body}, api_error.headers or {}


def _as_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            return ApiError(str(error), param=error.param, code="context_length_exceeded")
        case InvalidRequestError():
            return ApiError(str(error), param=error.param, code="invalid_value")
        case QueueFullError():
            return ApiError(str(error), status=429, code="queue_full", headers={"Retry-After": "1"})
        case EngineStoppingError():
            return ApiError(str(error), status=503, code="shutting_down", headers={"Retry-After": "10"})
        case EngineDeadError():
            return ApiError(str(error), status=503, code="engine_dead", headers={"Retry-After": "10"})
        case RequestFailedError():
            return ApiError(str(error), status=500, code="generation_failed")
        case HTTPException():
            return ApiError(str(error.detail), status=error.status_code, headers=dict(error.headers or {}))
        case RecursionError():
            return ApiError("the request is nested too deeply")
    return ApiError("the server failed on this request; its log has the reason", status=500)


async def handle_error(request: Request, error: Exception) -> Response:
    """The exception handler of the application."""
    status, body, headers = describe(error)
    context = current_request()
    if context is not None and body["error"]["code"] is not None:
        context.extra["error"] = body["error"]["code"]
    if isinstance(error, HTTPException):
        body["error"]["message"] = _routing_message(request, error)
    elif isinstance(error, GradusError):
        log_failure(error)
    return JSONResponse(body, status, headers)


def log_failure(error: Exception) -> None:
    """Tell the operator what failed on this side: a defect with its traceback, a failed step in one line."""
    if not isinstance(error, GradusError):
        logger.error("a request failed", exc_info=error)
    elif not isinstance(error, (InvalidRequestError, QueueFullError, EngineDeadError)):
        logger.warning("a request failed: %s", error)


def _routing_message(request: Request, error: HTTPException) -> str:
    path = request.url.path[:200]
    if error.status_code == 404:
        return f"there is no {request.method} {path!r} here; /docs lists what there is"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{path!r} does not take {request.method}; it takes {allowed}"
    return str(error.detail)
