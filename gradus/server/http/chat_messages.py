"""Chat messages from a request, checked and brought into the form that chat templates expect."""

import json
from collections.abc import Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show

ROLES = ("system", "developer", "user", "assistant", "tool")

# Fields beside role and content: which roles may have them, and the type.
_EXTRA_FIELDS: Mapping[str, tuple[tuple[str, ...], type]] = {
    "name": (ROLES, str),
    "tool_call_id": (("tool",), str),
    "tool_calls": (("assistant",), list),
    "reasoning": (("assistant",), str),
    "reasoning_content": (("assistant",), str),
}
_REFUSED_UNLESS_NULL = ("refusal", "audio", "function_call")


def read_messages(messages: Any) -> list[dict[str, Any]]:
    """The conversation for the template: roles, texts, and what else templates know.

    Raises:
        InvalidRequestError: names the message and the field.
    """
    if not isinstance(messages, list):
        raise InvalidRequestError(f"messages is {show(messages)}; it must be a list of messages", "messages")
    return [_read_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _read_message(message: Any, where: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise _error(f"{where} is {show(message)}; it must be an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        raise _error(f"{where}.role is {show(role)}; it must be one of {', '.join(ROLES)}")
    read: dict[str, Any] = {"role": "system" if role == "developer" else role}
    for name, value in message.items():
        if name in ("role", "content") or value is None:
            continue
        read[name] = _read_extra(name, value, role, where)
    if "reasoning" in read:  # templates know it by its older name
        read["reasoning_content"] = read.pop("reasoning")
    has_calls = bool(read.get("tool_calls"))
    read["content"] = _read_content(message.get("content"), f"{where}.content", optional=has_calls)
    return read


def _read_extra(name: str, value: Any, role: str, where: str) -> Any:
    if name in _REFUSED_UNLESS_NULL:
        raise _error(f"{where}.{name} is {show(value)}; only null works here")
    if name not in _EXTRA_FIELDS or role not in _EXTRA_FIELDS[name][0]:
        raise _error(f"{where} has {show(name)}, which is no field of a message of role {role}")
    kind = _EXTRA_FIELDS[name][1]
    calls: list[Any] = value if isinstance(value, list) else []
    if not isinstance(value, kind):
        raise _error(f"{where}.{name} is {show(value)}; it must be a {'string' if kind is str else 'list'}")
    if name == "tool_calls":
        return [_read_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return value


def _read_content(content: Any, where: str, *, optional: bool) -> str:
    """A text, or the texts of its parts, one per line."""
    if isinstance(content, str):
        return content
    if content is None and optional:
        return ""
    if not isinstance(content, list):
        raise _error(f"{where} is {show(content)}; it must be a string or a list of text parts")
    return "\n".join([_read_part(part, f"{where}[{i}]") for i, part in enumerate(content)])


def _read_part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise _error(f'{where} is {show(part)}; it must be {{"type": "text", "text": ...}}')
    if part["type"] != "text":
        raise _error(f'{where}.type is {show(part["type"])}; this model takes only "text"')
    if not isinstance(part.get("text"), str):
        raise _error(f"{where}.text is {show(part.get('text'))}; it must be a string")
    unknown = [name for name, value in part.items() if name not in ("type", "text") and value is not None]
    if unknown:
        raise _error(f"{where} has {show(unknown[0])}, which is no field of a text part")
    return part["text"]


def _read_call(call: Any, where: str) -> dict[str, Any]:
    """An earlier tool call; templates want the arguments as an object."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _error(f"{where} is {show(call)}; it must be an object with function.name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise _error(f"{where}.function.arguments is {show(arguments)}, which is not JSON") from None
    if not isinstance(arguments, dict):
        raise _error(f"{where}.function.arguments is {show(arguments)}; it must be a JSON object")
    return {**call, "function": {**function, "arguments": arguments}}


def _error(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, "messages")
