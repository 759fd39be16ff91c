"""The tools that a model may call, and how free it is to do so. Knows no wire format but JSON Schema."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show

MAX_TOOLS = 128
MAX_TOOL_CHARS = 64 * 2**10  # of one tool's description and parameters
MAX_ALL_TOOLS_CHARS = 512 * 2**10

_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function that the client can run.

    Attributes:
        name: 1 to 64 of a-z, A-Z, 0-9, "_", "-" and ".".
        parameters: JSON Schema of its arguments, an object; empty: it takes none.
        strict: the arguments must be valid whenever the model calls the function.

    Raises:
        InvalidRequestError: the name or the schema cannot be one of a function, or is too large.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise _error(
                f"a tool's name is {show(self.name)}; it must be 1 to 64 of a-z, A-Z, 0-9, '_', '-' and '.'"
            )
        if self.description is not None and not isinstance(self.description, str):
            raise _error(
                f"the description of tool {self.name} is {show(self.description)}; it must be a string"
            )
        if not isinstance(self.parameters, Mapping):
            raise _error(
                f"the parameters of tool {self.name} are {show(self.parameters)}; "
                "they must be a JSON Schema, an object"
            )
        kind = self.parameters.get("type", "object")
        if kind != "object":
            raise _error(
                f"the parameters of tool {self.name} have the type {show(kind)}; arguments are an "
                'object, so only "object" works'
            )
        if self.num_chars > MAX_TOOL_CHARS:
            raise _error(
                f"tool {self.name} has {self.num_chars:,} characters; at most {MAX_TOOL_CHARS:,} work"
            )

    @property
    def num_chars(self) -> int:
        """Size of the description and of the parameters as JSON."""
        return len(self.description or "") + len(json.dumps(self.parameters, ensure_ascii=False))

    def for_template(self) -> dict[str, Any]:
        """In the form that chat templates expect: OpenAI's."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        return {"type": "function", "function": {**function, "parameters": dict(self.parameters)}}


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model calls a tool: never ("none"), as it likes ("auto"), at least once ("required").

    `name`, with "required", means one call of that function and nothing else.
    """

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None


def check_tools(tools: Sequence[FunctionTool], choice: ToolChoice) -> None:
    """What can only be seen of all tools together.

    Raises:
        InvalidRequestError: too many or too large, two of one name, or a choice that none of them is.
    """
    if len(tools) > MAX_TOOLS:
        raise _error(f"tools has {len(tools)} entries and may have at most {MAX_TOOLS}")
    num_chars = sum(tool.num_chars for tool in tools)
    if num_chars > MAX_ALL_TOOLS_CHARS:
        raise _error(f"tools have {num_chars:,} characters together; at most {MAX_ALL_TOOLS_CHARS:,} work")
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise _error(f"tools has two functions with the name {name}; names must differ")
    if choice.name is not None and choice.name not in names:
        known = ", ".join(names[:20]) or "none"
        raise InvalidRequestError(
            f"tool_choice names the function {show(choice.name)}, which is not among the tools: {known}",
            "tool_choice",
        )
    if choice.mode == "required" and not tools:
        raise InvalidRequestError("tool_choice requires a call, and there are no tools", "tool_choice")


def _error(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, "tools")
