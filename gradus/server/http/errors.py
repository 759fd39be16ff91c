"""Errors and their status codes, in OpenAI's shape, `{"error": {"message", "type", "param", "code"}}`.

Under `/v1/messages` they have Anthropic's: `{"type": "error", "error": {"type", "message"}}`.
"""

import logging
import math
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gradus.errors import (
    AuthenticationError,
    BusyError,
    ContextOverflowError,
    DeadlineExceededError,
    EngineDeadError,
    EngineStoppingError,
    GradusError,
    InvalidRequestError,
    PermissionDeniedError,
    RequestFailedError,
)
from gradus.server.observe.context import current_request

logger = logging.getLogger("gradus.server")

_TYPE_OF_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
    504: "timeout_error",
}
_NO_RETRY = {"x-should-retry": "false"}  # the clients of OpenAI and Anthropic would send it again at once

_ANTHROPIC_ROUTES = "/v1/messages"
_ANTHROPIC_TYPE_OF_STATUS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


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

    @property
    def reason(self) -> str:
        """As `GradusError.reason`: a short word for counting."""
        return self.code or f"http_{self.status}"


def describe(error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers for an error."""
    api_error = _as_api_error(error)
    kind = _TYPE_OF_STATUS.get(api_error.status)
    if kind is None:
        kind = "invalid_request_error" if api_error.status < 500 else "server_error"
    body = {"message": str(api_error), "type": kind, "param": api_error.param, "code": api_error.code}
    return api_error.status, {"error": body}, api_error.headers or {}


def describe_for(path: str, error: Exception) -> tuple[int, dict[str, Any], dict[str, str]]:
    """The same in the shape that clients of the route at `path` expect."""
    status, body, headers = describe(error)
    if is_anthropic(path):
        body = anthropic_error(status, body["error"]["message"])
    return status, body, headers


def is_anthropic(path: str) -> bool:
    """Whether the clients of this route are Anthropic's."""
    return path == _ANTHROPIC_ROUTES or path.startswith(f"{_ANTHROPIC_ROUTES}/")


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Anthropic's body; the message names the field, which has no place of its own there."""
    kind = _ANTHROPIC_TYPE_OF_STATUS.get(status)
    if kind is None:
        kind = "invalid_request_error" if status < 500 else "api_error"
    return {"type": "error", "error": {"type": kind, "message": message}}


def _as_api_error(error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            return ApiError(str(error), param=error.param, code="context_length_exceeded")
        case InvalidRequestError():
            return ApiError(str(error), param=error.param, code="invalid_value")
        case BusyError():
            return ApiError(str(error), status=429, code=error.reason, headers=_retry(error.retry_after))
        case AuthenticationError():
            headers = {"WWW-Authenticate": 'Bearer realm="gradus"'}
            return ApiError(str(error), status=401, code="invalid_api_key", headers=headers)
        case PermissionDeniedError():
            return ApiError(str(error), status=403, code="permission_denied")
        case DeadlineExceededError():
            return ApiError(str(error), status=504, code="deadline_exceeded", headers=_NO_RETRY)
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


def _retry(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


async def handle_error(request: Request, error: Exception) -> Response:
    """The exception handler of the application."""
    status, body, headers = describe_for(request.url.path, error)
    context, code = current_request(), _as_api_error(error).code
    if context is not None and code is not None:
        context.extra["error"] = code
    if isinstance(error, HTTPException):
        body["error"]["message"] = _routing_message(request, error)
    elif isinstance(error, GradusError):
        log_failure(error)
    return JSONResponse(body, status, headers)


_EXPECTED = (
    InvalidRequestError,
    BusyError,
    EngineDeadError,
    AuthenticationError,
    PermissionDeniedError,
    DeadlineExceededError,
)


def log_failure(error: Exception) -> None:
    """Tell the operator what failed on this side: a defect with its traceback, a failed step in one line."""
    if not isinstance(error, GradusError):
        logger.error("a request failed", exc_info=error)
    elif not isinstance(error, _EXPECTED):
        logger.warning("a request failed: %s", error)


def _routing_message(request: Request, error: HTTPException) -> str:
    path = request.url.path[:200]
    if error.status_code == 404:
        return f"there is no {request.method} {path!r} here; /docs lists what there is"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{path!r} does not take {request.method}; it takes {allowed}"
    return str(error.detail)
