"""Settings, declared once: a configuration's fields with what flags, environment and files need to set them.

A field written with `option(...)` says what it is for and which values work; its name and type say the rest.
From that follow its flag, its environment variable, its key in a file, and the check of a value that Python
code gives. Knows nothing of where values come from.
"""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gradus.errors import ConfigError

_COUNT = re.compile(r"(-?[0-9]{1,30}(?:\.[0-9]{1,30})?)([kKmMgGtT]?)")
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FACTORS |= {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
MASK = "***"  # what is shown of a secret
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True}
_BOOLEANS |= {"false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What is said about a field beside its name, type and default.

    Attributes:
        help: for people, in one line.
        metavar: what its value is called there; None: for its type.
        group: the heading that it stands under.
        least, most: the range of a number, both ends included.
        choices: the values that work, where there are few; a `Literal` type says so itself.
        alias: another name for its flag.
        is_secret: never shown.
        takes_several: the flag of a list takes several values at once, beside being repeatable.
    """

    help: str
    metavar: str | None = None
    group: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[Any, ...] = ()
    alias: str | None = None
    is_secret: bool = False
    takes_several: bool = False


def option(default: Any, help: str, **details: Any) -> Any:
    """A dataclass field that can be set from outside; `details` are those of `Option`."""
    declared = Option(help=help, **details)
    return field(default=default, repr=not declared.is_secret, metadata={"option": declared})


@dataclass(frozen=True, slots=True)
class Setting:
    """A declared field. Its `kind` is bool, int, float, str or tuple (a list of texts)."""

    name: str
    default: Any
    kind: Any
    is_optional: bool
    choices: tuple[Any, ...]
    option: Option

    def parse(self, text: str) -> Any:
        """The value that a text stands for: a flag's or a variable's.

        Raises:
            ValueError: what it must be instead.
        """
        if self.kind is bool:
            if text.lower() not in _BOOLEANS:
                raise ValueError("it must be true or false")
            return _BOOLEANS[text.lower()]
        if self.kind is tuple:
            return self.check([part.strip() for part in text.split(",")])
        if self.kind is str:
            return self.check(text)
        try:
            return self.check(parse_count(text) if self.kind is int else float(text))
        except ValueError:
            raise ValueError(self._requirement()) from None

    def check(self, value: Any) -> Any:
        """The value in the field's own type, if it is one that works.

        Raises:
            ValueError: what it must be instead.
        """
        if value is None and self.is_optional:
            return None
        if self.kind is tuple and isinstance(value, (list, tuple)):
            value = tuple(value)
        elif self.kind is float and type(value) is int:
            value = float(value)
        elif self.kind is str and isinstance(value, os.PathLike):
            value = os.fspath(value)
        if not self._works(value):
            raise ValueError(self._requirement())
        return value

    def shown(self, value: Any) -> str:
        """A value for an error message."""
        return MASK if self.option.is_secret else repr(value)

    def _is_masked(self, values: Sequence[Any]) -> bool:
        """Whether it was copied from where secrets are not shown; everybody knows that text."""
        return self.option.is_secret and MASK in values

    def _works(self, value: Any) -> bool:
        if type(value) is not self.kind or (self.choices and value not in self.choices):
            return False
        if self.kind is tuple:
            return all(isinstance(item, str) and item for item in value) and not self._is_masked(value)
        if self.kind not in (int, float):
            return not self._is_masked((value,))
        least, most = self.option.least, self.option.most
        return math.isfinite(value) and (least is None or value >= least) and (most is None or value <= most)

    def _requirement(self) -> str:
        if self.choices:
            return f"it must be one of {', '.join(map(str, self.choices))}"
        nouns = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
        noun = nouns.get(self.kind, "a list of texts")
        if self.option.is_secret:
            noun += f", not empty; {MASK} only stands for a secret that is not shown"
        least, most = self.option.least, self.option.most
        if least is not None:
            noun += f" of {least:,} or more" if most is None else f" from {least:,} to {most:,}"
        return f"it must be {noun}" + ("; 4k is 4,000 and 4K is 4,096" if self.kind is int else "")


def settings_of(config: type) -> dict[str, Setting]:
    """A configuration's settings by name, in their order; of its fields those written with `option`."""
    hints = get_type_hints(config)
    return {
        f.name: _setting(f.name, None if f.default is MISSING else f.default, hints[f.name], declared)
        for f in fields(config)
        if (declared := f.metadata.get("option")) is not None
    }


def check_settings(config: Any) -> None:
    """To be called by a configuration when it is made.

    Raises:
        ConfigError: names the first value that cannot work, and what would.
    """
    for name, setting in settings_of(type(config)).items():
        value = getattr(config, name)
        try:
            object.__setattr__(config, name, setting.check(value))
        except ValueError as error:
            raise ConfigError(f"{name} is {setting.shown(value)}; {error}") from None


def parse_count(text: str) -> int:
    """A whole number, with a suffix if wanted, as vLLM writes them: k, m, g and t are powers of 1000; K, M, G
    and T of 1024. "1.5G" is 1536 MiB.

    Raises:
        ValueError: it is none.
    """
    match = _COUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number")
    whole, _, decimals = match[1].partition(".")
    value, rest = divmod(int(whole + decimals) * _FACTORS[match[2]], 10 ** len(decimals))
    if rest or abs(value) >= 1 << 63:
        raise ValueError(f"{text!r} is not a whole number")
    return value


def _setting(name: str, default: Any, hint: Any, declared: Option) -> Setting:
    parts: Sequence[Any] = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    kinds = [part for part in parts if part is not NoneType]
    kind, choices = kinds[0], declared.choices
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        kind = type(choices[0])
    return Setting(name, default, get_origin(kind) or kind, NoneType in parts, choices, declared)
