"""`SamplingParams`: how one request's tokens are chosen, validated once for every front end.

Names and defaults follow vLLM's class of the same name. Knows nothing of models: limits that depend on
one (the context, the vocabulary) are checked where the request meets it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradus.errors import InvalidRequestError

MAX_N = 128
MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 32
MAX_STOP_STRING_CHARS = 1024
MAX_STOP_TOKEN_IDS = 256
MAX_SEED = 2**63 - 1


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """How to sample. Every assignment is checked, so that an object of this class is always valid.

    Attributes:
        n: number of independent completions, 1 to 128.
        temperature: 0 is greedy; up to 100 otherwise.
        top_p: smallest set of tokens whose probability reaches it, in (0, 1].
        top_k: only the k likeliest tokens; 0 or -1 switch it off.
        seed: makes sampling reproducible, -(2**63) to 2**63 - 1; None draws one per request.
        max_tokens: at most this many tokens are generated; None means up to the end of the context.
        stop: strings that end the text; they are not part of it.
        stop_token_ids: token ids that end the completion.
        ignore_eos: go on after an end-of-sequence token.
        logprobs: how many of the likeliest tokens to report at each position besides the sampled one,
            0 to 20; None reports nothing.

    Raises:
        InvalidRequestError: names the field, its value and the range.
    """

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int | None = 16
    stop: str | Sequence[str] | None = ()
    stop_token_ids: Sequence[int] | None = ()
    ignore_eos: bool = False
    logprobs: int | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        # Slots and an own __setattr__ keep `super()` from knowing the class; `object` is its base.
        object.__setattr__(self, name, _CHECKS[name](name, value) if name in _CHECKS else value)

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0


def _invalid(field: str, value: Any, requirement: str) -> InvalidRequestError:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return InvalidRequestError(f"{field} is {shown}; it {requirement}", param=field)


def _integer(low: int, high: int, *, optional: bool = False) -> Callable[[str, Any], int | None]:
    def check(field: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _invalid(field, value, f"must be an integer from {low} to {high}" + " or null" * optional)
        return value

    return check


def _number(low: float, high: float, *, open_low: bool = False) -> Callable[[str, Any], float]:
    def check(field: str, value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # The comparison also refuses NaN and integers too large for a float.
        if not is_number or not low <= value <= high or (open_low and value == low):
            bounds = f"above {low:g} and at most {high:g}" if open_low else f"from {low:g} to {high:g}"
            raise _invalid(field, value, f"must be a number {bounds}")
        return float(value)

    return check


def _boolean(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid(field, value, "must be true or false")
    return value


def _stop_strings(field: str, stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    strings = (stop,) if isinstance(stop, str) else stop
    if not isinstance(strings, (list, tuple)) or not all(isinstance(s, str) and s for s in strings):
        raise _invalid(field, stop, "must be a non-empty string or a list of non-empty strings")
    if len(strings) > MAX_STOP_STRINGS:
        raise _invalid(field, stop, f"has {len(strings)} strings and may have at most {MAX_STOP_STRINGS}")
    longest = max(map(len, strings), default=0)
    if longest > MAX_STOP_STRING_CHARS:
        raise _invalid(
            field, stop, f"has a string of {longest} characters; at most {MAX_STOP_STRING_CHARS} work"
        )
    return tuple(strings)


def _stop_token_ids(field: str, ids: Any) -> tuple[int, ...]:
    if ids is None:
        return ()
    is_id_list = isinstance(ids, (list, tuple)) and all(
        isinstance(i, int) and not isinstance(i, bool) and 0 <= i < 2**31 for i in ids
    )
    if not is_id_list:
        raise _invalid(field, ids, "must be a list of token ids, each 0 or more")
    if len(ids) > MAX_STOP_TOKEN_IDS:
        raise _invalid(field, ids, f"has {len(ids)} ids and may have at most {MAX_STOP_TOKEN_IDS}")
    return tuple(ids)


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "n": _integer(1, MAX_N),
    "temperature": _number(0.0, 100.0),
    "top_p": _number(0.0, 1.0, open_low=True),
    "top_k": _integer(-1, 2**31 - 1),
    "seed": _integer(-MAX_SEED - 1, MAX_SEED, optional=True),
    "max_tokens": _integer(1, 2**31 - 1, optional=True),
    "stop": _stop_strings,
    "stop_token_ids": _stop_token_ids,
    "ignore_eos": _boolean,
    "logprobs": _integer(0, MAX_LOGPROBS, optional=True),
}
