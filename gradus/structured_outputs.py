"""`StructuredOutputsParams`: the form that a text must have, as a request states it. Names follow vLLM's.

Knows how large a statement may be; whether it makes sense is for the compiler in `gradus.structured` to say.
"""

import json as json_text
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import boolean, invalid

MAX_SCHEMA_CHARS = 128 * 1024  # of the schema written without spaces
MAX_SCHEMA_DEPTH = 64  # lists and objects inside one another
MAX_REGEX_CHARS = 8 * 1024
MAX_GRAMMAR_CHARS = 64 * 1024
MAX_CHOICES = 1024
MAX_CHOICE_CHARS = 1024
MAX_WHITESPACE_PATTERN_CHARS = 128

KINDS = ("json", "json_object", "regex", "choice", "grammar")


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredOutputsParams:
    """Exactly one of `json`, `json_object`, `regex`, `choice` and `grammar` says what the text must be.

    Equal objects mean the same and have the same hash.

    Attributes:
        json: a JSON Schema, as an object or as text; kept as text. Properties come in the schema's order.
        json_object: any JSON object.
        regex: what the whole text matches, in the syntax of Rust's `regex` crate: no look-around, no
            back-references.
        choice: the text is one of these strings.
        grammar: a grammar in llguidance's dialect of Lark; it starts at the rule `start`.
        disable_any_whitespace: JSON has no space between its parts.
        whitespace_pattern: a regular expression of the space between JSON's parts; None means at most one
            space after a comma or colon, and none elsewhere.
        ends_in_time: the text is brought to its end before `max_tokens` cuts it off; False is for free text,
            which is cut off as text without a form is, unless it has begun something that must be completed.
        field: what the request calls it, for error messages.

    Raises:
        InvalidRequestError: names the field, and what it has and may have.
    """

    json: str | Mapping[str, Any] | bool | None = None
    json_object: bool | None = None
    regex: str | None = None
    choice: Sequence[str] | None = None
    grammar: str | None = None
    disable_any_whitespace: bool = False
    whitespace_pattern: str | None = None
    ends_in_time: bool = True
    field: str = field(default="structured_outputs", compare=False)

    def __post_init__(self) -> None:
        self._check_one_kind()
        for name, most in (
            ("regex", MAX_REGEX_CHARS),
            ("grammar", MAX_GRAMMAR_CHARS),
            ("whitespace_pattern", MAX_WHITESPACE_PATTERN_CHARS),
        ):
            if getattr(self, name) is not None:
                _check_text(f"{self.field}.{name}", getattr(self, name), most)
        boolean(f"{self.field}.disable_any_whitespace", self.disable_any_whitespace)
        if self.json is not None:
            object.__setattr__(self, "json", _schema_text(self._path("json"), self.json))
        if self.choice is not None:
            object.__setattr__(self, "choice", _choices(f"{self.field}.choice", self.choice))
        self._check_whitespace()

    @property
    def kind(self) -> str:
        """Which of `KINDS` it is."""
        return next(name for name in KINDS if getattr(self, name) not in (None, False))

    @property
    def num_chars(self) -> int:
        """How much text states it."""
        return sum(map(len, self.choice or ())) + sum(
            len(text) for text in (self.json, self.regex, self.grammar) if isinstance(text, str)
        )

    @property
    def path(self) -> str:
        """What the request calls the part that states the form."""
        return self._path(self.kind)

    def _path(self, kind: str) -> str:
        # A field with a path of its own, such as response_format.json_schema.schema, says it all.
        return self.field if self.field != "structured_outputs" else f"{self.field}.{kind}"

    def _check_one_kind(self) -> None:
        if self.json_object is not None:
            boolean(f"{self.field}.json_object", self.json_object)
        given = [name for name in KINDS if getattr(self, name) is not None]
        if self.json_object is False:
            given.remove("json_object")
        if len(given) != 1:
            found = "none of them" if not given else " and ".join(given)
            raise InvalidRequestError(
                f"{self.field} has {found}; it must have exactly one of {', '.join(KINDS)}", self.field
            )

    def _check_whitespace(self) -> None:
        is_json = self.json is not None or bool(self.json_object)
        for name in ("disable_any_whitespace", "whitespace_pattern"):
            if getattr(self, name) and not is_json:
                raise InvalidRequestError(
                    f"{self.field}.{name} is set; it works with json and json_object only, since {self.kind} "
                    "says itself where space may be",
                    f"{self.field}.{name}",
                )
        if self.disable_any_whitespace and self.whitespace_pattern is not None:
            raise InvalidRequestError(
                f"{self.field} has disable_any_whitespace and a whitespace_pattern; give one of them",
                f"{self.field}.whitespace_pattern",
            )


def _check_text(path: str, value: Any, most: int) -> None:
    if not isinstance(value, str) or not value:
        raise invalid(path, value, "must be a non-empty string")
    if len(value) > most:
        raise InvalidRequestError(f"{path} has {len(value):,} characters; it may have at most {most:,}", path)
    _check_unicode(path, value)


def _check_unicode(path: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"{path} has an unpaired surrogate, U+{ord(text[error.start]):04X}, which no text can have", path
        ) from None


def _choices(path: str, value: Any) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and all(isinstance(text, str) and text for text in value)
    if not is_list or not value:
        raise invalid(path, value, "must be a list of non-empty strings, at least one")
    if len(value) > MAX_CHOICES:
        raise InvalidRequestError(f"{path} has {len(value):,} strings; at most {MAX_CHOICES:,} work", path)
    for text in value:
        _check_text(path, text, MAX_CHOICE_CHARS)
    return tuple(dict.fromkeys(value))


def _schema_text(path: str, schema: Any) -> str:
    """The schema as JSON without spaces, its keys in their order."""
    if isinstance(schema, str):
        schema = _parsed(path, schema)
    if not isinstance(schema, (Mapping, bool)):
        raise invalid(path, schema, "must be a JSON Schema: an object, true or false")
    _check_size(path, schema)
    try:
        text = json_text.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{path} cannot be written as JSON: {error}", path) from None
    if len(text) > MAX_SCHEMA_CHARS:
        raise _too_large(path, f"{len(text):,} characters")
    _check_unicode(path, text)
    return text


def _parsed(path: str, text: str) -> Any:
    # Spaces count here, for what the parser has to read: a schema that is mostly spaces is no use to anybody.
    if len(text) > 4 * MAX_SCHEMA_CHARS:
        raise _too_large(path, f"{len(text):,} characters")
    try:
        return json_text.loads(text)
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:
        raise InvalidRequestError(f"{path} is not JSON: {error}", path) from None


def _check_size(path: str, schema: Any) -> None:
    """Bound what `json.dumps` will go through: depth, so that it ends, and the number of parts."""
    level: list[Any] = [schema]
    num_parts = 0
    for _ in range(MAX_SCHEMA_DEPTH):
        values = [value for holder in level for value in _values(holder)]
        num_parts += len(values)
        if num_parts > MAX_SCHEMA_CHARS:
            raise _too_large(path, f"more than {MAX_SCHEMA_CHARS:,} parts")
        level = [value for value in values if isinstance(value, (Mapping, list, tuple))]
        if not level:
            return
    raise _too_deep(path)


def _values(holder: Any) -> Iterable[Any]:
    if isinstance(holder, Mapping):
        return holder.values()
    return holder if isinstance(holder, (list, tuple)) else ()


def _too_deep(path: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{path} is nested more than {MAX_SCHEMA_DEPTH} levels deep; at most {MAX_SCHEMA_DEPTH} work. Put "
        "what is deep into $defs and refer to it",
        path,
    )


def _too_large(path: str, size: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{path} has {size}; a schema may have at most {MAX_SCHEMA_CHARS:,} characters", path
    )
