"""`system`, `messages` and `tools` of Anthropic's `/v1/messages`, as a chat template expects them.

There a user's message carries the results of calls; to a template each is a message of its own. Source of the
blocks: Anthropic's API reference, "Create a Message".
"""

from collections.abc import Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.server.http.text_parts import (
    Kinds,
    read_part,
    read_text,
    refuse_others,
    refuse_unless,
    required_text,
)
from gradus.text.reply.tools import FunctionTool, ToolChoice

Message = dict[str, Any]

_TEXT: Kinds = {"text": ("cache_control", "citations")}
_TOOL_FIELDS = {
    "type": ("custom",),
    "allowed_callers": (["direct"],),
    "defer_loading": (False,),
    "eager_input_streaming": (True, False),  # arguments come as they are generated, always
    "input_examples": ([],),
}
_MODES = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}


def read_conversation(messages: Any, system: Any) -> list[Message]:
    """The messages for the template; the system prompt comes first.

    Raises:
        InvalidRequestError: names the message, the block and the field.
    """
    read: list[Message] = []
    if system is not None:
        read.append({"role": "system", "content": read_text(system, "system", "system", _TEXT)})
    if not isinstance(messages, list):
        raise _error(f"messages is {show(messages)}; it must be a list of messages")
    for i, message in enumerate(messages):
        read += _read_message(message, f"messages[{i}]")
    return read


def _read_message(message: Any, where: str) -> list[Message]:
    if not isinstance(message, dict):
        raise _error(f"{where} is {show(message)}; it must be an object with role and content")
    refuse_others(message, {"role", "content"}, where, "messages", "a message")
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        raise _error(f'{where}.role is {show(role)}; it must be "user", "assistant" or "system"')
    if role == "system" or isinstance(content, str):
        return [{"role": role, "content": read_text(content, f"{where}.content", "messages", _TEXT)}]
    if not isinstance(content, list):
        raise _error(f"{where}.content is {show(content)}; it must be a string or a list of blocks")
    reader = _read_user if role == "user" else _read_assistant
    return reader(content, f"{where}.content")


def _read_user(blocks: list[Any], where: str) -> list[Message]:
    """Results of calls first, which is where they have to be; then what the user says."""
    results: list[Message] = []
    texts: list[str] = []
    for i, block in enumerate(blocks):
        if _kind(block) == "tool_result":
            results.append(_read_result(block, f"{where}[{i}]"))
        else:
            texts.append(read_part(block, f"{where}[{i}]", "messages", {**_TEXT, "tool_result": ()}))
    if texts or not results:
        results.append({"role": "user", "content": "\n".join(texts)})
    return results


def _read_result(block: Mapping[str, Any], where: str) -> Message:
    known = {"type", "tool_use_id", "content", "is_error", "cache_control"}
    refuse_others(block, known, where, "messages", "a tool_result")
    content = block.get("content")
    text = "" if content is None else read_text(content, f"{where}.content", "messages", _TEXT)
    if block.get("is_error") not in (None, True, False):
        raise _error(f"{where}.is_error is {show(block['is_error'])}; it must be true or false")
    if block.get("is_error"):
        text = f"Error: {text}"  # templates have no other place for it
    call_id = required_text(block, "tool_use_id", where, "messages")
    return {"role": "tool", "content": text, "tool_call_id": call_id}


def _read_assistant(blocks: list[Any], where: str) -> list[Message]:
    thoughts: list[str] = []
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for i, block in enumerate(blocks):
        place, kind = f"{where}[{i}]", _kind(block)
        if kind == "thinking":
            refuse_others(block, {"type", "thinking", "signature"}, place, "messages", "a thinking block")
            thoughts.append(required_text(block, "thinking", place, "messages"))
        elif kind == "tool_use":
            calls.append(_read_call(block, place))
        else:
            texts.append(read_part(block, place, "messages", {**_TEXT, "thinking": (), "tool_use": ()}))
    message: Message = {"role": "assistant", "content": "\n".join(texts)}
    if any(thoughts):
        message["reasoning_content"] = "\n".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    return [message]


def _read_call(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    known = {"type", "id", "name", "input", "cache_control", "caller"}
    refuse_others(block, known, where, "messages", "a tool_use")
    call_id, name = (required_text(block, field, where, "messages") for field in ("id", "name"))
    if not isinstance(block.get("input"), dict):
        raise _error(f"{where}.input is {show(block.get('input'))}; it must be an object")
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": block["input"]}}


def read_tools(tools: list[Any]) -> tuple[FunctionTool, ...]:
    """The functions that the client declares. Raises InvalidRequestError."""
    return tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))


def _read_tool(tool: Any, where: str) -> FunctionTool:
    if not isinstance(tool, dict):
        raise InvalidRequestError(f"{where} is {show(tool)}; it must be an object", "tools")
    for name, neutral in _TOOL_FIELDS.items():
        refuse_unless(tool, name, neutral, where, "tools")
    known = {"name", "description", "input_schema", "strict", "cache_control", *_TOOL_FIELDS}
    refuse_others(tool, known, where, "tools", "a tool")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise InvalidRequestError(f"{where}.input_schema is {show(schema)}; it must be an object", "tools")
    refuse_unless(tool, "strict", (True, False), where, "tools")
    try:
        return FunctionTool(
            name=required_text(tool, "name", where, "tools"),
            description=tool.get("description"),
            parameters=schema,
            strict=bool(tool.get("strict")),
        )
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}: {error}", "tools") from None


def read_tool_choice(choice: Any, has_tools: bool) -> tuple[ToolChoice, bool]:
    """What `tool_choice` means, and whether several calls may come at once. Raises InvalidRequestError."""
    if choice is None:
        return ToolChoice(), True
    kind = _kind(choice)
    if kind not in _MODES:
        raise InvalidRequestError(
            f'tool_choice is {show(choice)}; its type must be "auto", "any", "tool" or "none"', "tool_choice"
        )
    known = {"type", "disable_parallel_tool_use", *(("name",) if kind == "tool" else ())}
    refuse_others(choice, known, "tool_choice", "tool_choice")
    refuse_unless(choice, "disable_parallel_tool_use", (True, False), "tool_choice", "tool_choice")
    if kind in ("any", "tool") and not has_tools:
        raise InvalidRequestError(f"tool_choice is {show(choice)}, and there are no tools", "tool_choice")
    name = required_text(choice, "name", "tool_choice", "tool_choice") if kind == "tool" else None
    mode: Any = _MODES[kind]
    return ToolChoice(mode, name), not choice.get("disable_parallel_tool_use")


def sets_cache_control(messages: Any, system: Any, tools: list[Any]) -> bool:
    """Whether anything is marked for Anthropic's prompt cache; what it is asked of has been read already."""
    contents = [system, tools, *(message["content"] for message in messages)]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return any(block.get("cache_control") is not None for block in blocks)


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else ""


def _error(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, "messages")
