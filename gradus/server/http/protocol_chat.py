"""`/v1/chat/completions`: what a request may hold."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.server.http.protocol import (
    COMMON_NEUTRAL,
    UNSUPPORTED,
    GenerationRequest,
    LogprobsCount,
    Neutral,
    show,
)

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
    "parallel_tool_calls": Neutral.values(True, False),
    "prediction": UNSUPPORTED,
    "prompt_cache_key": Neutral.anything(str, "a string"),
    "prompt_cache_options": UNSUPPORTED,
    "prompt_cache_retention": Neutral.values("in_memory", "in-memory"),
    "reasoning_effort": Neutral(
        lambda _: False,
        "it is not supported; models that can think take chat_template_kwargs, such as "
        '{"enable_thinking": false}',
    ),
    "safety_identifier": Neutral.anything(str, "a string"),
    "service_tier": Neutral.values("auto", "default"),
    "store": Neutral.values(False),
    "verbosity": Neutral.values("medium"),
    "web_search_options": UNSUPPORTED,
    "echo": Neutral.values(False),
    "continue_final_message": Neutral.values(False),
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
    tools: list[Any] = Field([], description="only with tool_choice none: calls are not supported yet")
    tool_choice: Any = Field(None, description='"none", or "auto" without tools')
    add_generation_prompt: bool = Field(True, description="open the assistant's turn")
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
                "max_tokens",
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
        new = names.get(error.param or "")
        if new is None:
            return error
        message = str(error).replace(f"{error.param} is", f"{new} is")
        if error.param == "max_tokens":
            message = message.replace("Lower max_tokens", f"Lower {new}")
        return type(error)(message, new)

    def check_tools(self) -> None:
        """Tools may be listed only where the model is not to call them; then it is not shown them."""
        choice = self.tool_choice
        if choice not in (None, "none", "auto"):
            raise InvalidRequestError(
                f'tool_choice is {show(choice)}; calling tools is not supported yet, so only "none" works',
                "tool_choice",
            )
        if self.tools and choice != "none":
            raise InvalidRequestError(
                f"tools has {len(self.tools)} entries, but calling tools is not supported yet; leave them "
                'out or set tool_choice to "none"',
                "tools",
            )
