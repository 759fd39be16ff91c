"""`input` of `/v1/responses`: a text or a list of items, as the messages of a conversation.

The assistant's reasoning, texts and calls are items of their own there; to a chat template they are one
message. Source of the items: OpenAI's API reference, "Create a model response", `input`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.server.http.text_parts import Kinds, read_part, read_text, refuse_others, required_text

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_INPUT_TEXT: Kinds = {"input_text": ("prompt_cache_breakpoint",)}
_SAID_TEXT: Kinds = {"output_text": ("annotations", "logprobs"), "input_text": ()}
_REASONING_TEXT: Kinds = {"reasoning_text": ()}
_ABOUT_ITEM = {"type", "id", "status"}  # fields that say nothing to the model


def read_input(value: Any, instructions: str | None) -> list[dict[str, Any]]:
    """The conversation for the template; the instructions come first.

    Raises:
        InvalidRequestError: names the item and the field.
    """
    conversation = _Conversation()
    if instructions is not None:
        conversation.say("system", instructions)
    if isinstance(value, str):
        conversation.say("user", value)
        return conversation.messages
    if not isinstance(value, list) or not value:
        raise _error(f"input is {show(value)}; it must be a string or a list of items, at least one")
    for i, item in enumerate(value):
        _read_item(item, f"input[{i}]", conversation)
    return conversation.messages


class _Conversation:
    """Messages, the last of which may be the assistant's and still open for more of its items."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None

    def say(self, role: str, content: str, **more: Any) -> None:
        self._open = None
        self.messages.append({"role": role, "content": content, **more})

    def reply(self, content: str) -> None:
        message = self._assistant(
            is_new=bool(self._open and (self._open["content"] or "tool_calls" in self._open))
        )
        message["content"] = content

    def think(self, reasoning: str) -> None:
        self._assistant(is_new=self._open is not None)["reasoning_content"] = reasoning

    def call(self, call: dict[str, Any]) -> None:
        self._assistant(is_new=False).setdefault("tool_calls", []).append(call)

    def _assistant(self, *, is_new: bool) -> dict[str, Any]:
        if self._open is None or is_new:
            self._open = {"role": "assistant", "content": ""}
            self.messages.append(self._open)
        return self._open


def _read_item(item: Any, where: str, conversation: _Conversation) -> None:
    if not isinstance(item, dict):
        raise _error(f"{where} is {show(item)}; it must be an object")
    kind = item.get("type", "message")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise _error(f"{where}.type is {show(kind)}; it must be one of {', '.join(_READERS)}")
    reader(item, where, conversation)


def _read_message(item: Mapping[str, Any], where: str, conversation: _Conversation) -> None:
    refuse_others(item, _ABOUT_ITEM | {"role", "content", "phase"}, where, "input", "a message")
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _error(f"{where}.role is {show(role)}; it must be one of {', '.join(_ROLES)}")
    kinds = _SAID_TEXT if role == "assistant" else _INPUT_TEXT
    content = read_text(item.get("content"), f"{where}.content", "input", kinds)
    if role == "assistant":
        conversation.reply(content)
    else:
        conversation.say(_ROLES[role], content)


def _read_call(item: Mapping[str, Any], where: str, conversation: _Conversation) -> None:
    refuse_others(item, _ABOUT_ITEM | {"call_id", "name", "arguments"}, where, "input", "a function_call")
    call_id, name, text = (
        required_text(item, field, where, "input") for field in ("call_id", "name", "arguments")
    )
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise _error(f"{where}.arguments is {show(text)}; it must be the text of a JSON object")
    function = {"name": name, "arguments": arguments}
    conversation.call({"id": call_id, "type": "function", "function": function})


def _read_output(item: Mapping[str, Any], where: str, conversation: _Conversation) -> None:
    known = _ABOUT_ITEM | {"call_id", "output", "name"}
    refuse_others(item, known, where, "input", "a function_call_output")
    output = read_text(item.get("output"), f"{where}.output", "input", _INPUT_TEXT)
    conversation.say("tool", output, tool_call_id=required_text(item, "call_id", where, "input"))


def _read_reasoning(item: Mapping[str, Any], where: str, conversation: _Conversation) -> None:
    """What the assistant thought; templates decide which of it the model sees again."""
    known = _ABOUT_ITEM | {"summary", "content"}
    refuse_others(item, known, where, "input", "a reasoning item; its text belongs into content")
    parts = item.get("content") or []
    if not isinstance(parts, list):
        raise _error(f"{where}.content is {show(parts)}; it must be a list of parts")
    texts = [
        read_part(part, f"{where}.content[{i}]", "input", _REASONING_TEXT) for i, part in enumerate(parts)
    ]
    if item.get("summary"):
        raise _error(f"{where}.summary is {show(item['summary'])}; only an empty list works here")
    if texts:
        conversation.think("\n".join(texts))


_READERS: Mapping[str, Callable[[Mapping[str, Any], str, _Conversation], None]] = {
    "message": _read_message,
    "function_call": _read_call,
    "function_call_output": _read_output,
    "reasoning": _read_reasoning,
}


def _error(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, "input")
