"""One turn of a conversation, whatever protocol it is asked for in: messages and tools in, parts of a reply out.

`ChatTurn` is what all protocols have in common. `open_turn` makes the prompt, what the sampling parameters
need, and the parsers. Knows templates and reply formats; knows nothing of HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradus.sampling_params import SamplingParams
from gradus.server.service import Service
from gradus.text.output_processor import ChoiceDelta
from gradus.text.reply.parts import Part, ReplyMessage
from gradus.text.reply.tools import FunctionTool, ToolChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """What a model is asked.

    Attributes:
        messages: as chat templates expect them: role, content, and for calls `tool_calls` with
            `function.arguments` as an object, `tool_call_id`, `reasoning_content`.
        tools: what the model may call.
        parallel_tool_calls: false: at most one call.
        template_kwargs: variables of the template, such as `enable_thinking`.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    add_generation_prompt: bool = True
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)


class OpenTurn:
    """A turn whose prompt is made.

    Attributes:
        prompt: the text; process it with `add_special_tokens=False`.
        shown_special_ids: special tokens that the parser must see; give them to `Service.generate`.
    """

    prompt: str
    shown_special_ids: frozenset[int]

    def constrained(self, params: SamplingParams) -> SamplingParams:
        """The parameters, with the constraint that a required call needs.

        Raises:
            InvalidRequestError: they have a constraint of their own that contradicts it.
        """
        raise NotImplementedError

    def reader(self, num_choices: int) -> "ReplyReader":
        raise NotImplementedError


class ReplyReader:
    """The replies of one request's choices, as they come."""

    messages: list[ReplyMessage]  # of each choice, so far

    def read(self, delta: ChoiceDelta) -> list[Part]:
        """The parts that a delta adds to its choice; with its finish reason, all that was held back."""
        raise NotImplementedError

    def finish_reason(self, index: int, reason: str | None) -> str | None:
        """The choice's finish reason: "tool_calls" where it ended by itself and has called a tool."""
        raise NotImplementedError

    @property
    def num_reasoning_tokens(self) -> int | None:
        """Tokens of all choices' reasoning, its marks included; None where they cannot be told apart."""
        raise NotImplementedError


def open_turn(service: Service, turn: ChatTurn) -> OpenTurn:
    """Render the prompt and choose the parsers.

    Raises:
        InvalidRequestError: the model's template refuses the messages, or the server cannot call tools.
    """
    raise NotImplementedError
