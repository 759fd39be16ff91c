"""`/v1/responses`: what a request may hold. Nothing is stored, so what refers to stored things is refused."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn
from gradus.server.http.chat_tools import read_choice, read_tools
from gradus.server.http.protocol import (
    STRICT,
    UNSUPPORTED,
    LogprobsCount,
    Neutral,
    SamplingRequest,
    Stop,
    renamed,
)
from gradus.server.http.reasoning_fields import effort_kwargs
from gradus.server.http.response_format import read_json_schema, the_one_form
from gradus.server.http.responses_input import read_input
from gradus.server.http.text_parts import refuse_others
from gradus.structured_outputs import StructuredOutputsParams

_ITEMS = {"type": "array", "items": {"type": "object"}}
_INPUT_SCHEMA = {"anyOf": [{"type": "string"}, _ITEMS], "examples": ["Hello!"]}
_TOOLS_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["function"]},
            "name": {"type": "string"},
            "description": {"type": "string"},
            "parameters": {"type": "object"},
            "strict": {"type": "boolean"},
        },
        "required": ["type", "name"],
    },
}
_CHOICE_SCHEMA = {"anyOf": [{"type": "string", "enum": ["none", "auto", "required"]}, {"type": "object"}]}
_STATELESS = "this server stores nothing; send the whole conversation in input and leave it out"
_STORED = Neutral(lambda _: False, _STATELESS)
_INCLUDABLE = ("message.output_text.logprobs", "reasoning.encrypted_content")
_LOGPROBS = _INCLUDABLE[0]

NEUTRAL: Mapping[str, Neutral] = {
    "access_programs": UNSUPPORTED,
    "background": Neutral.values(False),
    "context_management": UNSUPPORTED,
    "conversation": _STORED,
    "image": UNSUPPORTED,
    "max_tool_calls": UNSUPPORTED,
    "moderation": UNSUPPORTED,
    "previous_response_id": _STORED,
    "prompt": _STORED,
    "prompt_cache_key": Neutral.anything(str, "a string"),
    "prompt_cache_options": UNSUPPORTED,
    "prompt_cache_retention": Neutral.values("in_memory", "in-memory"),
    "safety_identifier": Neutral.anything(str, "a string"),
    "service_tier": Neutral.values("auto", "default"),
    "store": Neutral(lambda given: given is False, "only false works here: this server stores nothing"),
    "truncation": Neutral.values("disabled"),
    "user": Neutral.anything(str, "a string"),
}


class Reasoning(BaseModel):
    """How much the model thinks."""

    model_config = STRICT

    effort: str | None = Field(None, description="where the model's template knows it; none: do not think")
    summary: str | None = Field(None, description="only auto: reasoning comes as it is, not summed up")
    generate_summary: str | None = Field(None, description="older name of summary")


class TextOptions(BaseModel):
    """What the text of the answer is to be."""

    model_config = STRICT

    format: dict[str, Any] | None = Field(None, description="text, json_object, or json_schema with schema")
    verbosity: str | None = Field(None, description="only medium")

    def form(self) -> StructuredOutputsParams | None:
        """Raises InvalidRequestError."""
        if self.verbosity not in (None, "medium"):
            raise InvalidRequestError(
                f'text.verbosity is {show(self.verbosity)}; only "medium" works here', "text.verbosity"
            )
        given = self.format or {"type": "text"}
        kind = given.get("type")
        if kind == "json_schema":
            described = {name: value for name, value in given.items() if name != "type"}
            return read_json_schema(described, "text.format")
        if kind not in ("text", "json_object"):
            raise InvalidRequestError(
                f'text.format.type is {show(kind)}; it must be "text", "json_object" or "json_schema"',
                "text.format",
            )
        refuse_others(given, {"type"}, "text.format", "text.format", f'the type "{kind}"')
        return None if kind == "text" else StructuredOutputsParams(json_object=True, field="text.format")


class StreamOptions(BaseModel):
    """Options of a stream."""

    model_config = STRICT

    include_obfuscation: bool = Field(False, description="only false: events are not padded")


class ResponsesRequest(SamplingRequest):
    """Answer a conversation."""

    input: Annotated[Any, WithJsonSchema(_INPUT_SCHEMA)] = Field(
        description="a text, or items: message, function_call, function_call_output, reasoning"
    )
    instructions: str | None = Field(None, description="a system message before the input")
    max_output_tokens: int | None = Field(None, description="default: up to the end of the context")
    tools: Annotated[list[Any], WithJsonSchema(_TOOLS_SCHEMA)] = Field([], description="functions to call")
    tool_choice: Annotated[Any, WithJsonSchema(_CHOICE_SCHEMA)] = Field(
        None, description='"auto" (default), "none", "required", one function, or allowed_tools'
    )
    parallel_tool_calls: bool = Field(True, description="false: at most one call")
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    include: list[str] = Field([], description=f"{_LOGPROBS} asks for log probabilities")
    top_logprobs: LogprobsCount = None
    metadata: dict[str, str] = Field({}, description="comes back in the answer")
    stop: Stop = Field((), description="strings that end the text; not part of it")
    stream_options: StreamOptions | None = None
    chat_template_kwargs: dict[str, Any] = Field({}, description="variables of the model's template")

    def params(self, defaults: Mapping[str, Any]) -> SamplingParams:
        """Raises InvalidRequestError with the name that this endpoint gives the field."""
        self._check_include()
        form = None if self.text is None else self.text.form()
        form = the_one_form(form, self.structured_outputs, "text.format")
        logprobs = (self.top_logprobs or 0) if self.has_logprobs else None
        return self.sampling_params(
            defaults, max_tokens=self.max_output_tokens, logprobs=logprobs, structured_outputs=form
        )

    @staticmethod
    def renamed(error: InvalidRequestError) -> InvalidRequestError:
        """The same error in this endpoint's own field names."""
        names = {"prompt": "input", "messages": "input"}
        return renamed(error, names | {"max_tokens": "max_output_tokens", "logprobs": "top_logprobs"})

    @property
    def has_logprobs(self) -> bool:
        return _LOGPROBS in self.include

    def turn(self, template: str | None) -> ChatTurn:
        """The conversation and the tools. Raises InvalidRequestError.

        template: the model's; whether an effort means something depends on it.
        """
        choice, tools = read_choice(_nested_choice(self.tool_choice), read_tools(_nested(self.tools)))
        return ChatTurn(
            messages=read_input(self.input, self.instructions),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls,
            template_kwargs=self._effort_kwargs(template or "") | self.chat_template_kwargs,
        )

    def _effort_kwargs(self, template: str) -> dict[str, Any]:
        if self.reasoning is None:
            return {}
        for name in ("summary", "generate_summary"):
            if getattr(self.reasoning, name) not in (None, "auto"):
                raise InvalidRequestError(
                    f"reasoning.{name} is {show(getattr(self.reasoning, name))}; reasoning comes as it is, "
                    'so only "auto" works here',
                    f"reasoning.{name}",
                )
        return effort_kwargs(self.reasoning.effort, template, "reasoning.effort")

    def _check_include(self) -> None:
        self.check_chunk_size()
        for name in self.include:
            if name not in _INCLUDABLE:
                raise InvalidRequestError(
                    f"include has {show(name)}; {' and '.join(_INCLUDABLE)} work here", "include"
                )
        if self.top_logprobs is not None and not self.has_logprobs:
            raise InvalidRequestError(f'top_logprobs needs include to have "{_LOGPROBS}"', "top_logprobs")
        if self.stream_options is None:
            return
        if not self.stream:
            raise InvalidRequestError("stream_options needs stream to be true", "stream_options")
        if self.stream_options.include_obfuscation:
            raise InvalidRequestError(
                "stream_options.include_obfuscation is true; only false works here", "stream_options"
            )


def _nested(tools: list[Any]) -> list[Any]:
    """Tools in the form of chats, where a function's fields lie one level deeper."""
    return [_nested_function(tool) if isinstance(tool, dict) else tool for tool in tools]


def _nested_function(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": tool.get("type"), "function": function}


def _nested_choice(choice: Any) -> Any:
    """`tool_choice` in the form of chats."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "function":
        return _nested_function(choice)
    if choice.get("type") == "allowed_tools":
        listed = choice.get("tools")
        tools = _nested(listed) if isinstance(listed, list) else listed
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.get("mode"), "tools": tools}}
    return choice
