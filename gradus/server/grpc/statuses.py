"""Errors as gRPC statuses: code, text, and trailing metadata; the counterpart of the HTTP layer's."""

import logging
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc

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
from gradus.server.grpc.proto import Error, Message

logger = logging.getLogger("gradus.server.grpc")

Code = grpc.StatusCode


class RpcError(Exception):
    """What the gRPC layer itself refuses.

    `reason` is a word for programs; `param` the field that is to blame.
    """

    def __init__(
        self, status: grpc.StatusCode, message: str, *, reason: str, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.param = param


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told of an error."""

    status: grpc.StatusCode
    reason: str
    message: str
    param: str | None = None
    retry_after: str | None = None  # seconds

    def as_message(self) -> Message:
        return Error(
            status=self.status.value[0], code=self.reason, message=self.message, param=self.param or ""
        )

    async def abort(self, context: Any) -> NoReturn:
        """End the call with it."""
        told = {"gradus-code": self.reason, "gradus-param": self.param, "retry-after": self.retry_after}
        trailing = tuple((name, value) for name, value in told.items() if value is not None)
        await context.abort(self.status, self.message, trailing)
        raise AssertionError("context.abort raises")


def describe(error: Exception) -> Failure:
    """What to tell of an error. One that nobody expected stays in the log."""
    text = str(error)
    match error:
        case RpcError():
            return Failure(error.status, error.reason, text, error.param)
        case ContextOverflowError():
            return Failure(Code.INVALID_ARGUMENT, "context_length_exceeded", text, error.param)
        case InvalidRequestError():
            return Failure(Code.INVALID_ARGUMENT, "invalid_value", text, error.param)
        case BusyError():
            seconds = str(max(1, math.ceil(error.retry_after)))
            return Failure(Code.RESOURCE_EXHAUSTED, error.reason or "busy", text, retry_after=seconds)
        case AuthenticationError():
            return Failure(Code.UNAUTHENTICATED, "invalid_api_key", text)
        case PermissionDeniedError():
            return Failure(Code.PERMISSION_DENIED, "permission_denied", text)
        case DeadlineExceededError():
            return Failure(Code.DEADLINE_EXCEEDED, "deadline_exceeded", text)
        case EngineStoppingError():
            return Failure(Code.UNAVAILABLE, "shutting_down", text, retry_after="10")
        case EngineDeadError():
            return Failure(Code.UNAVAILABLE, "engine_dead", text, retry_after="10")
        case RequestFailedError():
            return Failure(Code.INTERNAL, "generation_failed", text)
    return Failure(Code.INTERNAL, "server_error", "the server failed on this request; its log has the reason")


def log_failure(error: Exception) -> None:
    """Tell the operator what failed on this side: a defect with its traceback, a failed step in one line."""
    if not isinstance(error, (GradusError, RpcError)):
        logger.error("a request failed", exc_info=error)
    elif isinstance(error, RequestFailedError):
        logger.warning("a request failed: %s", error)
