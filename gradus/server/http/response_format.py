"""What a body says about the form of its reply: OpenAI's `response_format`, vLLM's `structured_outputs`.

Knows the fields; what may be in a schema, a regex or a grammar is the form's own business.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import invalid
from gradus.structured_outputs import StructuredOutputsParams

RESPONSE_FORMAT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["text", "json_object", "json_schema"]},
        "json_schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "description": {"type": "string"},
                "schema": {"type": "object"},
                "strict": {"type": "boolean"},
            },
            "required": ["name", "schema"],
        },
    },
    "required": ["type"],
}
STRUCTURED_OUTPUTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "json": {"anyOf": [{"type": "object"}, {"type": "string"}]},
        "json_object": {"type": "boolean"},
        "regex": {"type": "string"},
        "choice": {"type": "array", "items": {"type": "string"}},
        "grammar": {"type": "string"},
        "disable_any_whitespace": {"type": "boolean"},
        "whitespace_pattern": {"type": "string"},
    },
}
_FORM_FIELDS = {form_field.name for form_field in fields(StructuredOutputsParams)} - {"field", "ends_in_time"}
# vLLM's, at the values that change nothing.
_NEUTRAL = {"disable_fallback": (True, False), "disable_additional_properties": (False,)}
_MAX_NAME_CHARS = 64


def read_form(response_format: Any, structured_outputs: Any) -> StructuredOutputsParams | None:
    """The form that the two fields ask for; None where they ask for none.

    Raises:
        InvalidRequestError: names the field, its value and what works.
    """
    by_format = None if response_format is None else _read_response_format(response_format)
    return the_one_form(by_format, structured_outputs, "response_format")


def the_one_form(
    by_format: StructuredOutputsParams | None, structured_outputs: Any, name: str
) -> StructuredOutputsParams | None:
    """The form that an endpoint's own field `name` asks for, or `structured_outputs` instead.

    Raises:
        InvalidRequestError: both do, or the latter is wrong.
    """
    if structured_outputs is None:
        return by_format
    if by_format is not None:
        raise InvalidRequestError(
            f"{name} and structured_outputs both say what the reply must be; give one of them",
            "structured_outputs",
        )
    return _read_structured_outputs(structured_outputs)


def _read_response_format(value: Any) -> StructuredOutputsParams | None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid(
            "response_format", value, 'must be an object whose type is "text", "json_object" or "json_schema"'
        )
    _refuse_others("response_format", value, {"type", "json_schema"} if kind == "json_schema" else {"type"})
    if kind == "text":
        return None
    if kind == "json_object":
        return StructuredOutputsParams(json_object=True, field="response_format")
    return read_json_schema(value.get("json_schema"), "response_format.json_schema")


def read_json_schema(described: Any, path: str) -> StructuredOutputsParams:
    """JSON of the schema in `described`, which the request calls `path`. Raises InvalidRequestError."""
    if not isinstance(described, dict) or described.get("schema") is None:
        raise invalid(path, described, "must be an object with a name and a schema")
    _refuse_others(path, described, {"name", "description", "schema", "strict"})
    name = described.get("name", "reply")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME_CHARS:
        raise invalid(f"{path}.name", name, f"must be a string of 1 to {_MAX_NAME_CHARS} characters")
    if described.get("strict") not in (None, True, False):
        raise invalid(f"{path}.strict", described["strict"], "must be true or false; both are enforced")
    return StructuredOutputsParams(json=described["schema"], field=f"{path}.schema")


def _read_structured_outputs(value: Any) -> StructuredOutputsParams:
    if not isinstance(value, dict):
        raise invalid("structured_outputs", value, "must be an object")
    _refuse_others("structured_outputs", value, _FORM_FIELDS | set(_NEUTRAL))
    for name, accepted in _NEUTRAL.items():
        if value.get(name) is not None and value[name] not in accepted:
            raise invalid(f"structured_outputs.{name}", value[name], "works as false only")
    given = {name: part for name, part in value.items() if part is not None and name not in _NEUTRAL}
    return StructuredOutputsParams(**given)


def _refuse_others(path: str, value: Mapping[str, Any], known: set[str]) -> None:
    for name in value:
        if name not in known and value[name] is not None:
            raise InvalidRequestError(
                f"{path}.{name[:100]} is no field here; those are {', '.join(sorted(known))}",
                f"{path}.{name[:100]}",
            )
