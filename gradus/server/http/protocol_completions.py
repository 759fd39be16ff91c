"""`/v1/completions`: what a request may hold and how its prompts are read."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from gradus.errors import InvalidRequestError
from gradus.parameter_checks import show
from gradus.sampling_params import SamplingParams
from gradus.server.http.protocol import COMMON_NEUTRAL, GenerationRequest, LogprobsCount, Neutral

_TEXT = {"type": "string"}
_IDS = {"type": "array", "items": {"type": "integer"}}
PROMPT_SCHEMA = {
    "anyOf": [_TEXT, {"type": "array", "items": _TEXT}, _IDS, {"type": "array", "items": _IDS}],
    "examples": ["Once upon a time"],
}

NEUTRAL: Mapping[str, Neutral] = {
    **COMMON_NEUTRAL,
    "suffix": Neutral(lambda given: given == "", "text is not filled in before another; leave it out"),
}


class CompletionRequest(GenerationRequest):
    """Complete one or several prompts."""

    prompt: Annotated[Any, WithJsonSchema(PROMPT_SCHEMA)] = Field(
        description="text or token ids, one or many"
    )
    max_tokens: int | None = Field(16, description="tokens to generate at most; 0 works with echo")
    best_of: int | None = Field(None, description="generate so many, answer with the n likeliest per token")
    echo: bool = Field(False, description="the text begins with the prompt, and logprobs with the prompt's")
    logprobs: LogprobsCount = None
    add_special_tokens: bool = Field(True, description="add the tokenizer's own to a text")

    @property
    def num_generated(self) -> int:
        """Choices that are generated for each prompt."""
        return self.n if self.best_of is None else self.best_of

    @property
    def only_echoes(self) -> bool:
        return self.echo and self.max_tokens == 0

    def params(self, defaults: Mapping[str, Any]) -> SamplingParams:
        """Raises InvalidRequestError."""
        self._check_best_of()
        return self.sampling_params(
            defaults,
            n=self.num_generated,
            # The engine generates at least one token; it is left out where none is wanted.
            max_tokens=1 if self.only_echoes else self.max_tokens,
            logprobs=0 if self.logprobs is None and self.num_generated > self.n else self.logprobs,
            prompt_logprobs=self._prompt_logprobs(),
        )

    def _prompt_logprobs(self) -> int | None:
        echoed = self.logprobs if self.echo else None
        if echoed is not None and self.prompt_logprobs not in (None, echoed):
            raise InvalidRequestError(
                f"prompt_logprobs is {self.prompt_logprobs} and logprobs is {echoed}; with echo both are "
                "about the prompt, so leave prompt_logprobs out or give the same number",
                "prompt_logprobs",
            )
        return self.prompt_logprobs if echoed is None else echoed

    def _check_best_of(self) -> None:
        if self.best_of is None or self.best_of == self.n:
            return
        if self.best_of < self.n:
            raise InvalidRequestError(
                f"best_of is {self.best_of}; it must be at least n, which is {self.n}", "best_of"
            )
        if self.stream:
            raise InvalidRequestError(
                f"best_of is {self.best_of} and stream is true; the best are known at the end only, so leave "
                "one of them out",
                "best_of",
            )


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
