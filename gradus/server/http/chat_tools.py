"""`tools` and `tool_choice` of a chat request, read from OpenAI's form; a refusal names the place."""

from collections.abc import Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.text.reply.tools import FunctionTool, ToolChoice

_FUNCTION_FIELDS = {"name", "description", "parameters", "strict"}
_MODES = ("none", "auto", "required")


def read_tools(tools: list[Any]) -> tuple[FunctionTool, ...]:
    """The functions that `tools` declares.

    Raises:
        InvalidRequestError: names the entry and what is wrong with it.
    """
    return tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools))


def _read_tool(tool: Any, where: str) -> FunctionTool:
    function = _function_of(tool, where, "tools")
    unknown = [name for name, value in function.items() if name not in _FUNCTION_FIELDS and value is not None]
    if unknown:
        raise InvalidRequestError(
            f"{where}.function has {show(unknown[0])}, which is no field of it", "tools"
        )
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidRequestError(
            f"{where}.function.strict is {show(strict)}; it must be true or false", "tools"
        )
    given = {name: function[name] for name in ("description", "parameters") if function.get(name) is not None}
    try:
        return FunctionTool(name=function["name"], strict=bool(strict), **given)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"{where}: {error}", "tools") from None


def _function_of(value: Any, where: str, param: str) -> Mapping[str, Any]:
    """The `function` of `{"type": "function", "function": {"name": ...}}`."""
    if not isinstance(value, dict):
        raise InvalidRequestError(f'{where} is {show(value)}; it must be an object with "function"', param)
    kind = value.get("type", "function")
    if kind != "function":
        raise InvalidRequestError(f'{where}.type is {show(kind)}; only "function" works here', param)
    unknown = [name for name in value if name not in ("type", "function")]
    if unknown:
        raise InvalidRequestError(f"{where} has {show(unknown[0])}, which is no field of it", param)
    function = value.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequestError(
            f"{where}.function is {show(function)}; it must be an object with a name", param
        )
    return function


def read_choice(choice: Any, tools: tuple[FunctionTool, ...]) -> tuple[ToolChoice, tuple[FunctionTool, ...]]:
    """What `tool_choice` means, and the tools that it leaves: all, or its "allowed_tools".

    Raises:
        InvalidRequestError: what is wrong with it, or there is a choice and there are no tools.
    """
    if choice is None:
        return ToolChoice(), tools
    if choice not in ("none", "auto") and not tools:
        raise InvalidRequestError(f"tool_choice is {show(choice)}, and there are no tools", "tool_choice")
    if isinstance(choice, str) and choice in _MODES:
        return ToolChoice(choice), tools  # type: ignore[arg-type]
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = _function_of(choice, "tool_choice", "tool_choice")["name"]
        return ToolChoice("required", name), tools
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        return _read_allowed(choice.get("allowed_tools"), tools)
    raise InvalidRequestError(
        f'tool_choice is {show(choice)}; it must be "none", "auto", "required", '
        '{"type": "function", "function": {"name": ...}} or {"type": "allowed_tools", ...}',
        "tool_choice",
    )


def _read_allowed(
    allowed: Any, tools: tuple[FunctionTool, ...]
) -> tuple[ToolChoice, tuple[FunctionTool, ...]]:
    where = "tool_choice.allowed_tools"
    mode = allowed.get("mode") if isinstance(allowed, dict) else None
    listed = allowed.get("tools") if isinstance(allowed, dict) else None
    if mode not in ("auto", "required") or not isinstance(listed, list) or not listed:
        raise InvalidRequestError(
            f'{where} is {show(allowed)}; it must be an object with mode, "auto" or "required", and a list '
            "of tools",
            "tool_choice",
        )
    names = [_function_of(t, f"{where}.tools[{i}]", "tool_choice")["name"] for i, t in enumerate(listed)]
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            raise InvalidRequestError(
                f"{where} names {show(name)}, which is not among the tools", "tool_choice"
            )
    return ToolChoice(mode), tuple(tool for tool in tools if tool.name in names)
