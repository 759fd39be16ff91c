"""`/v1/completions`: what a request may hold and how its prompts are read."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.server.http.protocol import COMMON_NEUTRAL, GenerationRequest, LogprobsCount, Neutral, show

_TEXT = {"type": "string"}
_IDS = {"type": "array", "items": {"type": "integer"}}
PROMPT_SCHEMA = {
    "anyOf": [_TEXT, {"type": "array", "items": _TEXT}, _IDS, {"type": "array", "items": _IDS}],
    "examples": ["Once upon a time"],
}

NEUTRAL: Mapping[str, Neutral] = {
    **COMMON_NEUTRAL,
    "best_of": Neutral.values(1),  # a value equal to n is taken out before this is asked
    "echo": Neutral.values(False),
    "suffix": Neutral.values(""),
}


class CompletionRequest(GenerationRequest):
    """Complete one or several prompts."""

    prompt: Annotated[Any, WithJsonSchema(PROMPT_SCHEMA)] = Field(
        description="text or token ids, one or many"
    )
    max_tokens: int | None = Field(16, description="tokens to generate at most")
    logprobs: LogprobsCount = None
    add_special_tokens: bool = Field(True, description="add the tokenizer's own to a text")

    def params(self, defaults: Mapping[str, Any]) -> SamplingParams:
        return self.sampling_params(defaults, max_tokens=self.max_tokens, logprobs=self.logprobs)


def without_best_of(body: dict[str, Any]) -> dict[str, Any]:
    """`best_of` equal to `n` returns all that is generated, which is what happens anyway."""
    best_of, n = body.get("best_of"), body.get("n")
    is_count = isinstance(best_of, int) and not isinstance(best_of, bool)
    return {k: v for k, v in body.items() if k != "best_of"} if is_count and best_of == (n or 1) else body


def read_prompts(prompt: Any, max_prompts: int, param: str = "prompt") -> list[str | list[int]]:
    """The four ways to give prompts in the field `param`, as a list of texts or of token-id lists.

    Raises:
        InvalidRequestError: it is none of them.
    """
    if isinstance(prompt, str):
        return [prompt]
    if not isinstance(prompt, list):
        raise _wrong(prompt, param)
    if not prompt:
        raise InvalidRequestError(f"{param} is an empty list; it must have at least one prompt", param)
    if _is_ids(prompt):
        return [prompt]
    if len(prompt) > max_prompts:
        raise InvalidRequestError(
            f"{param} has {len(prompt):,} prompts and may have at most {max_prompts:,}", param
        )
    for item in prompt:
        if not (isinstance(item, type(prompt[0])) and (isinstance(item, str) or _is_ids(item))):
            raise _wrong(item, param)
    return prompt


def _is_ids(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)


def _wrong(value: Any, param: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{param} has {show(value)}; it must be a string, a list of strings, a list of token ids, or a list "
        "of lists of token ids",
        param,
    )
