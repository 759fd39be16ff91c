"""Every error Gradus raises on purpose: typed, with the numbers, and naming the way out.

Knows nothing of who raises or reports them; the HTTP server maps the types to status codes.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradus.outputs import RequestOutput


class GradusError(Exception):
    """Base of all errors that Gradus raises on purpose.

    `reason` is the one word under which metrics count a request that this error kept from being admitted;
    None for errors that are nothing of the kind.
    """

    reason: str | None = None


class ConfigError(GradusError, ValueError):
    """A configuration value that cannot work; the message says which would."""


class ModelError(GradusError):
    """A model that cannot be loaded: missing, broken, or unsupported. The message says what to do."""


class ModelNotFoundError(ModelError):
    """No such directory, and the hub does not have it or cannot be reached."""


class CheckpointError(ModelError):
    """The model's files are broken, incomplete, or of a format that Gradus refuses."""


class UnsupportedModelError(ModelError):
    """An architecture, or a field of `config.json` that changes results, that Gradus does not implement."""


class InvalidRequestError(GradusError, ValueError):
    """A request that was refused at admission.

    `param` is the name of the offending field, or None where no single one is to blame.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextOverflowError(InvalidRequestError):
    """Prompt plus `max_tokens` do not fit into the context or into the KV cache."""

    reason = "context_length"


def counted(number: int, noun: str) -> str:
    """ "1 token", "2 tokens"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def context_overflow(
    num_prompt_tokens: int, max_tokens: int | None, max_model_len: int
) -> ContextOverflowError:
    """The error for a prompt, and `max_tokens` if the request named it, that do not fit into the context."""
    room = max_model_len - num_prompt_tokens
    prompt = f"the prompt has {counted(num_prompt_tokens, 'token')}"
    context = f"this model's context is {max_model_len:,}"
    if room < 1:
        most = f"a prompt may have at most {max_model_len - 1:,}, so that one token can be generated"
        return ContextOverflowError(f"{prompt}; {context}. Shorten the prompt: {most}.", param="prompt")
    asked = max_tokens or 1
    return ContextOverflowError(
        f"{prompt} and max_tokens is {asked:,}, together {num_prompt_tokens + asked:,}; {context}. "
        f"Lower max_tokens to {room:,} or shorten the prompt.",
        param="max_tokens",
    )


class BusyError(GradusError):
    """A request that would be served at another time: in `retry_after` seconds, as far as that is known."""

    def __init__(self, message: str, retry_after: float, reason: str | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.reason = reason or type(self).reason


class QueueFullError(BusyError):
    """More requests or prompt tokens wait than the server accepts."""

    reason = "queue_full"


class RateLimitError(BusyError):
    """A client has reached what it may ask for at once or in a minute."""

    reason = "rate_limit"


class AuthenticationError(GradusError):
    """Nobody whom the server knows: no key, or a wrong one."""

    reason = "unauthenticated"


class PermissionDeniedError(GradusError):
    """A known client asked for what only others may have."""

    reason = "permission_denied"


class DeadlineExceededError(GradusError):
    """A request was not complete in the time that it had."""

    reason = "deadline_exceeded"


class RequestFailedError(GradusError):
    """One request ended with an error; the message carries the reason. Other requests are unaffected.

    `outputs` are those of the whole call where it was a batch: the failed ones have finish reason "error".
    """

    reason = "generation_failed"

    def __init__(self, message: str, outputs: Sequence["RequestOutput"] = ()) -> None:
        super().__init__(message)
        self.outputs = outputs


class ConstraintError(GradusError):
    """A constrained choice cannot go on; it ends with this as its reason."""


class BackendError(GradusError):
    """The backend failed in a step; every request in flight ends with this as its reason."""


class EngineDeadError(GradusError):
    """The engine cannot go on; the message carries the first cause."""

    reason = "engine_dead"


class EngineStoppingError(EngineDeadError):
    """The engine is being shut down and takes no more requests."""

    reason = "shutting_down"
