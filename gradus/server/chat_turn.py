"""One turn of a conversation in any protocol: messages and tools in, parts of a reply out.

`ChatTurn` is what all protocols have in common. `open_turn` makes the prompt, what the sampling parameters
need, and the parsers. Knows templates and reply formats; knows nothing of HTTP.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.outputs import CompletionOutput, FinishReason
from gradus.sampling_params import SamplingParams
from gradus.server.reply_form import reply_form
from gradus.server.service import Service
from gradus.text.input_processor import InputProcessor
from gradus.text.output_processor import ChoiceDelta
from gradus.text.reply.parser import ReplyParser
from gradus.text.reply.parts import Part, ReplyMessage, joined
from gradus.text.reply.reply_format import ReplyFormat, has_thought
from gradus.text.reply.think import CLOSING, ThinkParser
from gradus.text.reply.tools import FunctionTool, ToolChoice, check_tools
from gradus.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatTurn:
    """What a model is asked.

    Attributes:
        messages: as chat templates expect them: role, content, and for calls `tool_calls` with
            `function.arguments` as an object, `tool_call_id`, `reasoning_content`.
        tools: what the model may call.
        parallel_tool_calls: false: at most one call.
        continue_final_message: the reply goes on from the last message, which is the assistant's.
        template_kwargs: variables of the template, such as `enable_thinking`.
    """

    messages: Sequence[Mapping[str, Any]]
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = field(default_factory=ToolChoice)
    parallel_tool_calls: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def may_call(self) -> bool:
        return bool(self.tools) and self.tool_choice.mode != "none"

    @property
    def max_calls(self) -> int | None:
        return None if self.parallel_tool_calls and self.tool_choice.name is None else 1


@dataclass(frozen=True, slots=True)
class OpenTurn:
    """A turn whose prompt is made.

    Attributes:
        prompt: the text; process it with `add_special_tokens=False`.
        shown_special_ids: special tokens that the parser must see; give them to `Service.generate`.
    """

    turn: ChatTurn
    prompt: str
    reply_format: ReplyFormat
    shown_special_ids: frozenset[int]
    tokenizer: Tokenizer

    def constrained(self, params: SamplingParams) -> SamplingParams:
        """The parameters, with the form that the whole reply must have; theirs is the answer's.

        A required call is held to a grammar of the model's own format. An answer's form begins after the
        reasoning, and leaves the model free to call a tool instead. A strict tool's arguments are valid
        whenever the model calls it. A prompt that has closed the reasoning leaves none to set a budget to.

        Raises:
            InvalidRequestError: the form contradicts a required call, or cannot be combined with calls.
        """
        form = params.structured_outputs
        form = reply_form(self.turn, self.reply_format, self.prompt, form, self.tokenizer)
        budget = None if has_thought(self.prompt) else params.thinking_token_budget
        return replace(params, structured_outputs=form, thinking_token_budget=budget)

    def reader(self, num_choices: int) -> "ReplyReader":
        names = [tool.name for tool in self.turn.tools] if self.turn.may_call else []
        parsers = [
            self.reply_format.parser(self.prompt, names, self.turn.max_calls) for _ in range(num_choices)
        ]
        thinks = self.reply_format.reasoning == "think"
        return ReplyReader(parsers, self.tokenizer.token_id(CLOSING) if thinks else None)


def open_turn(service: Service, turn: ChatTurn) -> OpenTurn:
    """Render the prompt and choose the parsers.

    Raises:
        InvalidRequestError: the model's template refuses the messages, or the server cannot call tools.
    """
    reply_format, tokenizer = service.reply_format, service.tokenizer
    check_tools(turn.tools, turn.tool_choice)
    _check_can_call(turn, reply_format)
    prompt = render(service.inputs, turn, reply_format)
    shown = reply_format.special_marks(tokenizer, with_calls=turn.may_call)
    return OpenTurn(turn, prompt, reply_format, shown, tokenizer)


def render(inputs: InputProcessor, turn: ChatTurn, reply_format: ReplyFormat) -> str:
    """The prompt. Tools that the model is not to call are not shown to it. Raises InvalidRequestError."""
    messages = turn.messages
    if reply_format.tool_calls == "mistral":
        messages = [_with_short_ids(message) for message in messages]
    return inputs.render_chat(
        messages,
        tools=[tool.for_template() for tool in turn.tools] if turn.may_call else None,
        add_generation_prompt=turn.add_generation_prompt,
        continue_final_message=turn.continue_final_message,
        template_kwargs=turn.template_kwargs,
    )


def _check_can_call(turn: ChatTurn, reply_format: ReplyFormat) -> None:
    if not turn.may_call:
        return
    if reply_format.tool_calls == "none":
        raise InvalidRequestError(
            "tools is not empty, but this server reads no tool calls: the model's chat "
            "template shows no format that it knows, or --tool-call-parser is none. Leave them out or set "
            'tool_choice to "none"',
            "tools",
        )
    if turn.tool_choice.mode == "auto" and not reply_format.auto_tool_choice:
        raise InvalidRequestError(
            'tool_choice is "auto", which this server was started without (--no-enable-auto-tool-choice); '
            'set it to "required", to a function or to "none"',
            "tool_choice",
        )


def _with_short_ids(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Mistral's templates take ids of exactly nine letters and digits."""
    changed = dict(message)
    if "tool_call_id" in changed:
        changed["tool_call_id"] = _short_id(changed["tool_call_id"])
    if "tool_calls" in changed:
        changed["tool_calls"] = [{**call, "id": _short_id(call.get("id"))} for call in changed["tool_calls"]]
    return changed


def _short_id(call_id: object) -> str:
    return hashlib.sha256(str(call_id).encode("utf-8", "surrogatepass")).hexdigest()[:9]


class ReplyReader:
    """The replies of one request's choices, as they come."""

    def __init__(self, parsers: Sequence[ReplyParser], closing_id: int | None) -> None:
        """closing_id: of the token that ends the reasoning, if there is one."""
        self.messages = [ReplyMessage() for _ in parsers]
        self._parsers = parsers
        self._closing_id = closing_id
        self._num_before_answer = [0] * len(parsers)  # tokens
        self._is_answering = [False] * len(parsers)

    def read(self, delta: ChoiceDelta) -> list[Part]:
        """The parts that a delta adds to its choice; with its finish reason, all that was held back."""
        parser = self._parsers[delta.index]
        parts = parser.feed(delta.text)
        if delta.finish_reason is not None:
            parts = joined([*parts, *parser.finish()])
        self.messages[delta.index].add(parts)
        self._count(delta)
        return parts

    def read_whole(self, choice: CompletionOutput) -> None:
        """The same for a choice of which nothing was read before."""
        self.read(ChoiceDelta.whole(choice))

    def finish_reason(self, index: int, reason: FinishReason | None) -> str | None:
        """The choice's finish reason: "tool_calls" where it ended by itself and has called a tool."""
        return "tool_calls" if reason == "stop" and self.messages[index].tool_calls else reason

    @property
    def num_reasoning_tokens(self) -> int | None:
        """Tokens of all choices' reasoning, its marks included; None where they cannot be told apart."""
        if self._closing_id is None:
            return None
        counted = zip(self._parsers, self._num_before_answer, strict=True)
        return sum(num for parser, num in counted if isinstance(parser, ThinkParser) and parser.has_thought)

    def _count(self, delta: ChoiceDelta) -> None:
        for token_id in delta.token_ids:
            if self._is_answering[delta.index]:
                return
            self._num_before_answer[delta.index] += 1
            self._is_answering[delta.index] = token_id == self._closing_id
