"""The checks that a table of parameters is made of: each takes a field and its value, returns what to keep.

Knows no parameters. Every refusal names the field, the value, shortened, and what would work.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from gradus.errors import InvalidRequestError

Check = Callable[[str, Any], Any]


class _Shown(reprlib.Repr):
    """Values as JSON calls them, so that clients of any language know them again."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 60
        self.maxlist = self.maxdict = 3
        self.maxlevel = 2

    def repr_bool(self, value: bool, _: int) -> str:
        return "true" if value else "false"

    def repr_NoneType(self, _: None, level: int) -> str:  # noqa: N802
        return "null"


_shown = _Shown()


def show(value: Any) -> str:
    """A value for an error message: short, whatever it is."""
    return _shown.repr(value)


def invalid(field: str, value: Any, requirement: str) -> InvalidRequestError:
    """The error for a value that the field cannot have; `requirement` goes on after "it"."""
    return InvalidRequestError(f"{field} is {show(value)}; it {requirement}", param=field)


def integer(low: int, high: int, *, optional: bool = False) -> Check:
    def check(field: str, value: Any) -> int | None:
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid(field, value, f"must be an integer from {low} to {high}" + " or null" * optional)
        return value

    return check


def number(low: float, high: float, *, open_low: bool = False) -> Check:
    def check(field: str, value: Any) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        # The comparison also refuses NaN and integers too large for a float.
        if not is_number or not low <= value <= high or (open_low and value == low):
            bounds = f"above {low:g} and at most {high:g}" if open_low else f"from {low:g} to {high:g}"
            raise invalid(field, value, f"must be a number {bounds}")
        return float(value)

    return check


def boolean(field: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise invalid(field, value, "must be true or false")
    return value


def strings(max_strings: int, max_chars: int) -> Check:
    """One string or a list of them, none empty; null is the empty list. Kept as a tuple."""

    def check(field: str, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        found = (value,) if isinstance(value, str) else value
        if not isinstance(found, (list, tuple)) or not all(isinstance(s, str) and s for s in found):
            raise invalid(field, value, "must be a non-empty string or a list of non-empty strings")
        if len(found) > max_strings:
            raise invalid(field, value, f"has {len(found)} strings and may have at most {max_strings}")
        longest = max(map(len, found), default=0)
        if longest > max_chars:
            raise invalid(field, value, f"has a string of {longest} characters; at most {max_chars} work")
        return tuple(found)

    return check


def token_ids(max_ids: int) -> Check:
    """A list of token ids, kept as a tuple; null is the empty list. The vocabulary is checked elsewhere."""

    def check(field: str, value: Any) -> tuple[int, ...]:
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)) or not all(map(_is_token_id, value)):
            raise invalid(field, value, "must be a list of token ids, each 0 or more")
        if len(value) > max_ids:
            raise invalid(field, value, f"has {len(value)} ids and may have at most {max_ids}")
        return tuple(value)

    return check


def some_token_ids(max_ids: int) -> Check:
    """Null, or a list of at least one token id, kept as a tuple."""
    check_ids = token_ids(max_ids)

    def check(field: str, value: Any) -> tuple[int, ...] | None:
        ids: tuple[int, ...] = check_ids(field, value)
        if value is not None and not ids:
            raise invalid(field, value, "must have at least one token id, or be null")
        return ids or None

    return check


def token_biases(max_ids: int, most: float) -> Check:
    """Null, or a mapping of token ids (as integers, or in decimal as JSON has keys) to numbers."""

    def check(field: str, value: Any) -> dict[int, float] | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise invalid(field, value, "must be a mapping of token ids to numbers")
        if len(value) > max_ids:
            raise invalid(field, value, f"has {len(value)} entries and may have at most {max_ids}")
        check_bias = number(-most, most)
        biases = {
            _as_token_id(field, key): check_bias(f"{field}[{show(key)}]", v) for key, v in value.items()
        }
        if len(biases) < len(value):
            raise invalid(field, value, "names a token id twice")
        return biases

    def named(field: str, value: Any) -> dict[int, float] | None:
        try:
            return check(field, value)
        except InvalidRequestError as error:
            error.param = field
            raise

    return named


def _is_token_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _as_token_id(field: str, key: Any) -> int:
    if isinstance(key, str) and key.isascii() and key.isdecimal() and len(key) <= 10:
        key = int(key)
    if not _is_token_id(key):
        raise InvalidRequestError(
            f"{field} has the key {show(key)}; keys are token ids, each 0 or more", field
        )
    return int(key)
