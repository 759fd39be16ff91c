"""The forms in which `LLM` takes prompts: one or many, as text, token ids, or a mapping."""

from collections.abc import Mapping, Sequence
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams

Prompt = str | Sequence[int] | Mapping[str, Any]
"""A text, token ids, or a mapping with one of "prompt" and "prompt_token_ids"."""


def as_batch(prompts: Any) -> Sequence[Prompt]:
    """One prompt or many, as many."""
    is_one = isinstance(prompts, (str, Mapping)) or (len(prompts) > 0 and isinstance(prompts[0], int))
    return [prompts] if is_one else prompts


def per_prompt(
    params: SamplingParams | Sequence[SamplingParams], prompts: Sequence[Prompt]
) -> Sequence[SamplingParams]:
    """One object of parameters for each prompt.

    Raises:
        InvalidRequestError: there are neither one nor as many.
    """
    if isinstance(params, SamplingParams):
        return [params] * len(prompts)
    if len(params) != len(prompts):
        raise InvalidRequestError(
            f"there are {len(prompts)} prompts and {len(params)} sampling_params; give one or as many",
            "sampling_params",
        )
    return params


def text_and_input(prompt: Prompt) -> tuple[str | None, Any]:
    """The prompt's text, where it is known, and what to tokenize; the input processor checks the latter."""
    if not isinstance(prompt, Mapping):
        return (prompt if isinstance(prompt, str) else None), prompt
    unknown = set(prompt) - {"prompt", "prompt_token_ids"}
    if unknown or not prompt:
        raise InvalidRequestError(
            f"a prompt has the keys {sorted(map(str, prompt))}; it takes 'prompt' or 'prompt_token_ids'",
            "prompt",
        )
    return prompt.get("prompt"), prompt.get("prompt_token_ids", prompt.get("prompt"))
