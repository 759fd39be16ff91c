"""`/v1/chat/completions`: what a request may hold."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn
from gradus.server.http.chat_messages import read_messages
from gradus.server.http.chat_tools import read_choice, read_tools
from gradus.server.http.protocol import (
    COMMON_NEUTRAL,
    UNSUPPORTED,
    GenerationRequest,
    LogprobsCount,
    Neutral,
    renamed,
)
from gradus.server.http.reasoning_fields import effort_kwargs

_TOOLS_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["function"]},
            "function": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "description": {"type": "string"},
                    "parameters": {"type": "object"},
                    "strict": {"type": "boolean"},
                },
                "required": ["name"],
            },
        },
        "required": ["function"],
    },
}
_TOOL_CHOICE_SCHEMA = {
    "anyOf": [{"type": "string", "enum": ["none", "auto", "required"]}, {"type": "object"}]
}
_MESSAGES_SCHEMA = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "enum": ["system", "developer", "user", "assistant", "tool"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        },
        "required": ["role", "content"],
    },
    "examples": [[{"role": "user", "content": "Hello!"}]],
}

NEUTRAL: Mapping[str, Neutral] = {
    **COMMON_NEUTRAL,
    "audio": UNSUPPORTED,
    "function_call": Neutral.values("none", "auto"),
    "functions": Neutral.values([]),
    "metadata": Neutral.anything(dict, "an object"),
    "modalities": Neutral.values(["text"]),
    "moderation": UNSUPPORTED,
    "prediction": UNSUPPORTED,
    "prompt_cache_key": Neutral.anything(str, "a string"),
    "prompt_cache_options": UNSUPPORTED,
    "prompt_cache_retention": Neutral.values("in_memory", "in-memory"),
    "safety_identifier": Neutral.anything(str, "a string"),
    "service_tier": Neutral.values("auto", "default"),
    "store": Neutral.values(False),
    "verbosity": Neutral.values("medium"),
    "web_search_options": UNSUPPORTED,
    "echo": Neutral.values(False),
    "documents": UNSUPPORTED,
    "chat_template": UNSUPPORTED,
    "mm_processor_kwargs": UNSUPPORTED,
}


class ChatRequest(GenerationRequest):
    """Continue a conversation."""

    messages: Annotated[Any, WithJsonSchema(_MESSAGES_SCHEMA)]
    max_tokens: int | None = Field(None, description="older name of max_completion_tokens")
    max_completion_tokens: int | None = Field(None, description="default: up to the end of the context")
    logprobs: bool = Field(False, description="report the log probability of each token")
    top_logprobs: LogprobsCount = None
    tools: Annotated[list[Any], WithJsonSchema(_TOOLS_SCHEMA)] = Field([], description="functions to call")
    tool_choice: Annotated[Any, WithJsonSchema(_TOOL_CHOICE_SCHEMA)] = Field(
        None, description='"auto" (default), "none", "required", one function, or allowed_tools'
    )
    parallel_tool_calls: bool = Field(True, description="false: at most one call")
    include_reasoning: bool = Field(True, description="false: leave the reasoning out of the answer")
    reasoning_effort: str | None = Field(
        None, description="where the model's template knows it; none where thinking can be switched off"
    )
    add_generation_prompt: bool = Field(True, description="open the assistant's turn")
    continue_final_message: bool = Field(
        False, description="go on from the last message, the assistant's, in place of a turn of its own"
    )
    add_special_tokens: bool = Field(False, description="also add the tokenizer's own; templates write them")
    chat_template_kwargs: dict[str, Any] = Field(
        {}, description="variables of the model's template", examples=[{"enable_thinking": False}]
    )

    def params(self, defaults: Mapping[str, Any]) -> SamplingParams:
        """Raises InvalidRequestError with the name that this endpoint gives the field."""
        given = self.max_completion_tokens is not None
        if given and self.max_tokens is not None and self.max_tokens != self.max_completion_tokens:
            raise InvalidRequestError(
                f"max_tokens is {self.max_tokens} and max_completion_tokens is {self.max_completion_tokens}; "
                "they mean the same, give one",
                "max_completion_tokens",
            )
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidRequestError("top_logprobs needs logprobs to be true", "top_logprobs")
        max_tokens = self.max_completion_tokens if given else self.max_tokens
        logprobs = (self.top_logprobs or 0) if self.logprobs else None
        try:
            return self.sampling_params(defaults, max_tokens=max_tokens, logprobs=logprobs)
        except InvalidRequestError as error:
            raise self.renamed(error) from None

    def renamed(self, error: InvalidRequestError) -> InvalidRequestError:
        """The same error in this endpoint's own field names."""
        names = {"logprobs": "top_logprobs", "prompt": "messages"}
        if self.max_completion_tokens is not None:
            names["max_tokens"] = "max_completion_tokens"
        return renamed(error, names)

    def turn(self, template: str | None) -> ChatTurn:
        """The conversation and the tools. Raises InvalidRequestError.

        template: the model's; whether an effort means something depends on it.
        """
        opens_turn = self.add_generation_prompt and "add_generation_prompt" in self.model_fields_set
        if self.continue_final_message and opens_turn:
            raise InvalidRequestError(
                "continue_final_message and add_generation_prompt are both true; a message is continued, "
                "or a new one follows",
                "continue_final_message",
            )
        choice, tools = read_choice(self.tool_choice, read_tools(self.tools))
        return ChatTurn(
            messages=read_messages(self.messages),
            tools=tools,
            tool_choice=choice,
            parallel_tool_calls=self.parallel_tool_calls,
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=self.continue_final_message,
            template_kwargs=effort_kwargs(self.reasoning_effort, template or "", "reasoning_effort")
            | self.chat_template_kwargs,
        )
