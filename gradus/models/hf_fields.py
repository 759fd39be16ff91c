"""Typed access to the fields of a `config.json`, which remembers what was read.

Whatever is neither read nor known to be without effect is refused by name at the end, so a field that changes
the result cannot be passed over. Knows types and ranges; nothing of architectures.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from gradus.errors import CheckpointError, UnsupportedModelError

_REQUIRED = object()


class Fields:
    """The fields of one JSON object; `where` names it in messages."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        self._raw = raw
        self._where = where
        self._handled: set[str] = set()

    @property
    def where(self) -> str:
        return self._where

    def has(self, name: str) -> bool:
        return name in self._raw

    def was_read(self, name: str) -> bool:
        return name in self._handled

    def raw(self, name: str) -> Any:
        """A value as it stands, None where absent; counts as handled."""
        self._handled.add(name)
        return self._raw.get(name)

    def integer(self, name: str, low: int, high: int, default: Any = _REQUIRED) -> int:
        """Raises:
        CheckpointError: absent without a default, not an integer, or outside low..high.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.broken(name, f"an integer from {low:,} to {high:,}")
        return value

    def number(self, name: str, low: float, high: float, *, low_is_allowed: bool = False) -> float:
        """Raises:
        CheckpointError: absent, not a number, or outside (low, high], or [low, high] if `low_is_allowed`.
        """
        value = self.raw(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not low <= value <= high or (value == low and not low_is_allowed):
            raise self.broken(name, f"a number {'from' if low_is_allowed else 'above'} {low:g} to {high:g}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Raises:
        CheckpointError: neither true nor false.
        """
        value = self._value(name, default)
        if not isinstance(value, bool):
            raise self.broken(name, "true or false")
        return value

    def inner(self, name: str) -> "Fields | None":
        """The fields of an object inside this one, None where it is null or absent.

        Raises:
            CheckpointError: not an object.
        """
        value = self.raw(name)
        if value is not None and not isinstance(value, dict):
            raise self.broken(name, "an object")
        return None if value is None else Fields(value, f"{self._where}: {name}")

    def only(self, name: str, allowed: Collection[Any], advice: str) -> None:
        """The field is absent, null, or one of the values that Gradus implements.

        Raises:
            UnsupportedModelError: field, value, what is implemented, and `advice`.
        """
        value = self.raw(name)
        if value is not None and not any(type(value) is type(good) and value == good for good in allowed):
            raise self.unsupported(name, value, allowed, advice)

    def refuse_unhandled(self, without_effect: Collection[str]) -> None:
        """Every field that was not read must be null, false, or in `without_effect`.

        Raises:
            UnsupportedModelError: names the first that is not.
        """
        for name, value in self._raw.items():
            is_set = value is not None and value is not False
            if is_set and name not in self._handled and name not in without_effect:
                raise UnsupportedModelError(
                    f"{self._where}: {name} is {_shown(value)}, a field that Gradus does not know, so it "
                    "cannot tell whether it changes the result; remove it or set it to null if it has no "
                    "effect on inference"
                )

    def broken(self, name: str, must_be: str) -> CheckpointError:
        if name not in self._raw:
            return CheckpointError(f"{self._where}: {name} is missing; it must be {must_be}")
        return CheckpointError(f"{self._where}: {name} is {_shown(self._raw[name])}; it must be {must_be}")

    def unsupported(
        self, name: str, value: Any, allowed: Collection[Any], advice: str
    ) -> UnsupportedModelError:
        good = ", ".join(_shown(value) for value in allowed) or "null or absent"
        return UnsupportedModelError(
            f"{self._where}: {name} is {_shown(value)}, which Gradus does not implement; it has {good}. "
            f"{advice}"
        )

    def _value(self, name: str, default: Any) -> Any:
        value = self.raw(name)
        return default if value is None and default is not _REQUIRED else value


def is_close(a: float, b: float) -> bool:
    """Two spellings of one constant."""
    return math.isclose(a, b, rel_tol=1e-12)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
