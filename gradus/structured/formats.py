r"""The `format` keyword of JSON Schema, written as patterns.

llguidance knows formats too, but takes them at their widest: a second of 60, a year 0, fractions and names
without end. Calendars and validators know less, and a model that is free to go on would not stop. So the
formats here are of bounded length, and only what RFC 3339, 5321 and 1123 and their validators all accept;
others are left to llguidance.
"""

from collections.abc import Callable, Mapping
from typing import Any

_YEAR = "[1-9][0-9]{3}"
_LEAP_YEAR = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_DATE = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    f"|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)"
)
_HOUR = "(?:[01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_HOUR}:[0-5][0-9])"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL}){{0,3}}"
_COUNT = "(?:0|[1-9][0-9]{0,3})"

PATTERNS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": (
        f"P(?:{_COUNT}W|{_COUNT}Y(?:{_COUNT}M(?:{_COUNT}D)?)?|{_COUNT}M(?:{_COUNT}D)?|{_COUNT}D"
        f"(?:T{_COUNT}H(?:{_COUNT}M(?:{_COUNT}S)?)?)?|T{_COUNT}H(?:{_COUNT}M(?:{_COUNT}S)?)?"
        f"|T{_COUNT}M(?:{_COUNT}S)?|T{_COUNT}S)"
    ),
    "email": rf"[A-Za-z0-9_+-]{{1,32}}(?:\.[A-Za-z0-9_+-]{{1,16}}){{0,2}}@{_LABEL}(?:\.{_LABEL}){{1,3}}",
    "hostname": _HOST,
    "uri": (
        rf"(?:https?|ftp)://{_HOST}(?::[1-9][0-9]{{0,3}})?(?:/[A-Za-z0-9._~-]{{1,40}}){{0,6}}/?"
        r"(?:\?[A-Za-z0-9=&._~-]{1,80})?(?:#[A-Za-z0-9._~-]{1,40})?"
    ),
}

_SCHEMAS_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def with_patterns(schema: Any) -> Any:
    """The schema with those formats as patterns, wherever a schema may be in it."""
    if not isinstance(schema, Mapping):
        return schema
    rewritten = dict(schema)
    for name, rewrite in _PARTS.items():
        if name in schema:
            rewritten[name] = rewrite(schema[name])
    pattern = PATTERNS.get(schema["format"]) if isinstance(schema.get("format"), str) else None
    if pattern is not None and "pattern" not in schema:
        del rewritten["format"]
        rewritten["pattern"] = f"^{pattern}$"
    return rewritten


def _by_name(schemas: Any) -> Any:
    if not isinstance(schemas, Mapping):
        return schemas
    return {name: with_patterns(schema) for name, schema in schemas.items()}


def _one_or_list(schemas: Any) -> Any:
    return (
        [with_patterns(schema) for schema in schemas] if isinstance(schemas, list) else with_patterns(schemas)
    )


_PARTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_SCHEMAS_BY_NAME, _by_name),
    **dict.fromkeys((*_SCHEMA_LISTS, *_SCHEMAS), _one_or_list),
}
