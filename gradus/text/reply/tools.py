"""The tools that a model may call, and how free it is to do so. Knows no wire format but JSON Schema."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A function that the client can run.

    Attributes:
        name: 1 to 64 of a-z, A-Z, 0-9, "_", "-" and ".".
        parameters: JSON Schema of its arguments, an object.
        strict: the arguments must be valid whenever the model calls the function.
    """

    name: str
    description: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    def for_template(self) -> dict[str, Any]:
        """In the form that chat templates expect: OpenAI's."""
        function: dict[str, Any] = {"name": self.name}
        if self.description is not None:
            function["description"] = self.description
        return {"type": "function", "function": {**function, "parameters": dict(self.parameters)}}


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Whether the model calls a tool: never ("none"), as it likes ("auto"), at least once ("required").

    `name` with "required" means one call of that function and nothing else.
    """

    mode: Literal["none", "auto", "required"] = "auto"
    name: str | None = None
