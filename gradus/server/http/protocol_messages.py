"""Anthropic's `/v1/messages` and `/v1/messages/count_tokens`: what a request may hold."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn
from gradus.server.http.messages_input import (
    read_conversation,
    read_tool_choice,
    read_tools,
    sets_cache_control,
)
from gradus.server.http.protocol import STRICT, UNSUPPORTED, Neutral, SamplingRequest, renamed
from gradus.server.http.reasoning_fields import SWITCH, effort_kwargs
from gradus.server.http.response_format import read_json_schema, the_one_form
from gradus.structured_outputs import StructuredOutputsParams

_BLOCKS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]}
_MESSAGES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["user", "assistant", "system"]},
            "content": _BLOCKS,
        },
        "required": ["role", "content"],
    },
    "examples": [[{"role": "user", "content": "Hello!"}]],
}
_TOOLS_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "description": {"type": "string"},
            "input_schema": {"type": "object"},
            "strict": {"type": "boolean"},
        },
        "required": ["name", "input_schema"],
    },
}
_CHOICE_SCHEMA = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["auto", "any", "tool", "none"]},
        "name": {"type": "string"},
        "disable_parallel_tool_use": {"type": "boolean"},
    },
    "required": ["type"],
}

NEUTRAL: Mapping[str, Neutral] = {
    "container": UNSUPPORTED,
    "context_management": UNSUPPORTED,
    "diagnostics": UNSUPPORTED,
    "inference_geo": UNSUPPORTED,
    "mcp_servers": Neutral.values([]),
    "metadata": Neutral.anything(dict, "an object"),
    "service_tier": Neutral.values("auto", "standard_only"),
    "speed": Neutral.values("standard"),
    "user_profile_id": UNSUPPORTED,
    "workspace_id": UNSUPPORTED,
}


class Thinking(BaseModel):
    """Whether the model thinks before it answers."""

    model_config = STRICT

    type: str = Field(description="enabled, adaptive or disabled")
    budget_tokens: int | None = Field(None, description="with enabled: at most so many tokens of thinking")
    display: str | None = Field(None, description="summarized: shown as it is; omitted: left out")


class OutputConfig(BaseModel):
    """What the answer is to be."""

    model_config = STRICT

    effort: str | None = Field(
        None, description="where the model's template knows it; high means the default"
    )
    format: dict[str, Any] | None = Field(None, description='{"type": "json_schema", "schema": ...}')

    def form(self) -> StructuredOutputsParams | None:
        """Raises InvalidRequestError."""
        if self.format is None:
            return None
        if self.format.get("type") != "json_schema":
            raise InvalidRequestError(
                f'output_config.format is {show(self.format)}; its type must be "json_schema"',
                "output_config.format",
            )
        described = {name: value for name, value in self.format.items() if name != "type"}
        return read_json_schema(described, "output_config.format")


class MessagesRequest(SamplingRequest):
    """Answer a conversation, in Anthropic's form."""

    max_tokens: int = Field(description="tokens to generate at most")
    messages: Annotated[Any, WithJsonSchema(_MESSAGES_SCHEMA)]
    system: Annotated[Any, WithJsonSchema(_BLOCKS)] = None
    stop_sequences: list[str] = Field([], description="strings that end the text; not part of it")
    tools: Annotated[list[Any], WithJsonSchema(_TOOLS_SCHEMA)] = Field([], description="what may be called")
    tool_choice: Annotated[Any, WithJsonSchema(_CHOICE_SCHEMA)] = None
    thinking: Thinking | None = Field(None, description="default: disabled, where that can be")
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = Field(
        None, description="here or in blocks: count cached tokens apart; what is cached does not depend on it"
    )
    chat_template_kwargs: dict[str, Any] = Field({}, description="variables of the model's template")

    def params(self, defaults: Mapping[str, Any]) -> SamplingParams:
        """Raises InvalidRequestError with the name that this endpoint gives the field."""
        form = None if self.output_config is None else self.output_config.form()
        form = the_one_form(form, self.structured_outputs, "output_config.format")
        return self.sampling_params(
            defaults,
            max_tokens=self.max_tokens,
            stop=self.stop_sequences,
            structured_outputs=form,
            **self._thinking_budget(),
        )

    def renamed(self, error: InvalidRequestError) -> InvalidRequestError:
        """The same error in this endpoint's own field names."""
        names = {"thinking_token_budget": "thinking.budget_tokens"} if self._thinking_budget() else {}
        return renamed(error, names | {"prompt": "messages", "stop": "stop_sequences"})

    @property
    def shows_thinking(self) -> bool:
        return self.thinking is None or self.thinking.display != "omitted"

    @property
    def sets_cache_control(self) -> bool:
        is_marked = sets_cache_control(self.messages, self.system, self.tools)
        return self.cache_control is not None or is_marked

    def turn(self, template: str | None, reasoning: str) -> ChatTurn:
        """The conversation and the tools. Raises InvalidRequestError.

        template: the model's; what can be said about thinking depends on it, and on how it is recognized.
        """
        tools = read_tools(self.tools)
        choice, parallel = read_tool_choice(self.tool_choice, bool(tools))
        kwargs = self._effort_kwargs(template or "") | self._thinking_kwargs(template or "", reasoning)
        messages = read_conversation(self.messages, self.system)
        return ChatTurn(
            messages=messages,
            continue_final_message=_is_begun_reply(messages),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=parallel,
            template_kwargs=kwargs | self.chat_template_kwargs,
        )

    def _thinking_budget(self) -> dict[str, int]:
        """What bounds the thinking; a budget beyond `max_tokens` does not."""
        given = None if self.thinking is None else self.thinking.budget_tokens
        return {} if given is None or given >= self.max_tokens else {"thinking_token_budget": given}

    def _effort_kwargs(self, template: str) -> dict[str, Any]:
        effort = None if self.output_config is None else self.output_config.effort
        if effort == "high" and "reasoning_effort" not in template:
            return {}  # Anthropic's default: the same as leaving it out
        return effort_kwargs(effort, template, "output_config.effort")

    def _thinking_kwargs(self, template: str, reasoning: str) -> dict[str, Any]:
        can_switch = SWITCH in template
        if self.thinking is None:
            return {SWITCH: False} if can_switch else {}
        self._check_thinking(self.thinking)
        if self.thinking.type != "disabled" and reasoning == "none":
            raise _thinking_error(f"type is {show(self.thinking.type)}; this model does not think")
        if self.thinking.type == "disabled" and reasoning != "none" and not can_switch:
            raise _thinking_error("type is 'disabled'; this model's chat template always lets it think")
        return {SWITCH: self.thinking.type != "disabled"} if can_switch else {}

    def _check_thinking(self, thinking: Thinking) -> None:
        if thinking.type not in ("enabled", "disabled", "adaptive"):
            raise _thinking_error(
                f'type is {show(thinking.type)}; it must be "enabled", "adaptive" or "disabled"'
            )
        if thinking.display not in (None, "summarized", "omitted"):
            raise _thinking_error(f'display is {show(thinking.display)}; "summarized" and "omitted" work')
        if (thinking.budget_tokens is None) == (thinking.type == "enabled"):
            raise _thinking_error('budget_tokens belongs to the type "enabled", which needs it')
        if thinking.budget_tokens is not None and self.thinking_token_budget is not None:
            raise _thinking_error("budget_tokens and thinking_token_budget mean the same; give one")


class CountTokensRequest(MessagesRequest):
    """A conversation as `/v1/messages` would get it; nothing is generated."""

    max_tokens: int = Field(1, description="has no effect here")


def _is_begun_reply(messages: list[dict[str, Any]]) -> bool:
    """Whether the last message is the beginning of the reply, which Anthropic calls a prefill."""
    last = messages[-1] if messages else {}
    return last.get("role") == "assistant" and bool(last["content"]) and "tool_calls" not in last


def _thinking_error(message: str) -> InvalidRequestError:
    return InvalidRequestError(f"thinking.{message}", "thinking")
