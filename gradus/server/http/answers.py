"""What the routes answer with, as JSON Schemas for the API's description; nothing is checked with them."""

from typing import Any

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OBJECT: Schema = {"type": "object"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _has(**properties: Any) -> Schema:
    """An object with these properties, all of which are there, and possibly others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _is(*values: Any) -> Schema:
    return {"enum": list(values)}


ERROR = _has(error=_has(message=_TEXT, type=_TEXT, param=_or_null(_TEXT), code=_or_null(_TEXT)))
ANTHROPIC_ERROR = _has(type=_is("error"), error=_has(type=_TEXT, message=_TEXT))

_USAGE = _has(prompt_tokens=_COUNT, completion_tokens=_COUNT, total_tokens=_COUNT)
_CHOICE = {
    "index": _COUNT,
    "logprobs": _or_null(_OBJECT),
    "finish_reason": _is("stop", "length", "tool_calls"),
}
_CALL = _has(id=_TEXT, type=_is("function"), function=_has(name=_TEXT, arguments=_TEXT))
_MESSAGE = _has(role=_is("assistant"), content=_or_null(_TEXT))
_MESSAGE["properties"]["tool_calls"] = _list(_CALL)

CHAT_COMPLETION = _has(
    id=_TEXT,
    object=_is("chat.completion"),
    created=_COUNT,
    model=_TEXT,
    choices=_list(_has(message=_MESSAGE, **_CHOICE)),
    usage=_USAGE,
)
COMPLETION = _has(
    id=_TEXT,
    object=_is("text_completion"),
    created=_COUNT,
    model=_TEXT,
    choices=_list(_has(text=_TEXT, **_CHOICE)),
    usage=_USAGE,
)
RESPONSE = _has(
    id=_TEXT,
    object=_is("response"),
    created_at=_COUNT,
    status=_is("completed", "incomplete", "failed"),
    error=_or_null(_OBJECT),
    incomplete_details=_or_null(_has(reason=_TEXT)),
    model=_TEXT,
    output=_list(_has(id=_TEXT, type=_is("message", "reasoning", "function_call"), status=_TEXT)),
    usage=_has(input_tokens=_COUNT, output_tokens=_COUNT, total_tokens=_COUNT),
    store=_is(False),
)
MESSAGE = _has(
    id=_TEXT,
    type=_is("message"),
    role=_is("assistant"),
    model=_TEXT,
    content=_list(_has(type=_is("text", "thinking", "tool_use"))),
    stop_reason=_is("end_turn", "max_tokens", "stop_sequence", "tool_use"),
    stop_sequence=_or_null(_TEXT),
    usage=_has(input_tokens=_COUNT, output_tokens=_COUNT),
)
MESSAGE_TOKENS = _has(input_tokens=_COUNT)
EMBEDDINGS = _has(
    object=_is("list"),
    model=_TEXT,
    data=_list(
        _has(
            object=_is("embedding"),
            index=_COUNT,
            embedding={"anyOf": [_list({"type": "number"}), _TEXT]},
        )
    ),
    usage=_has(prompt_tokens=_COUNT, total_tokens=_COUNT),
)
MODEL = _has(id=_TEXT, object=_is("model"), created=_COUNT, owned_by=_TEXT, max_model_len=_COUNT)
MODELS = _has(object=_is("list"), data=_list(MODEL))
TOKENS = _has(tokens=_list(_COUNT), count=_COUNT, max_model_len=_COUNT, token_strs=_or_null(_list(_TEXT)))
TEXT = _has(prompt=_TEXT)
CAPABILITIES = _has(
    object=_is("capabilities"),
    version=_TEXT,
    model=_has(id=_TEXT, max_model_len=_COUNT),
    endpoints=_OBJECT,
    limits=_OBJECT,
    client=_OBJECT,
    engine=_OBJECT,
    features=_OBJECT,
)
TRACE = _has(traceEvents=_list(_OBJECT))
HEALTH = _has(status=_is("ok"))
VERSION = _has(version=_TEXT)
