"""How good a loaded model is on texts: perplexity of given answers, and its own greedy ones.

Through `LLM`'s public methods, so whatever a configuration changes is in it. Knows token ids, not text.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradus.llm import LLM
from gradus.sampling_params import SamplingParams

Losses = Callable[[Sequence[int]], np.ndarray]
"""Minus the log-probability of every token but the first, given those before it."""


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt and its right answer, as token ids; the answer ends with the end of the turn."""

    prompt: list[int]
    answer: list[int]

    @property
    def token_ids(self) -> list[int]:
        return self.prompt + self.answer


def losses(llm: LLM, texts: Sequence[Text]) -> list[np.ndarray]:
    """As `Losses`, of each text's prompt and answer."""
    params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    prompts = [{"prompt_token_ids": text.token_ids} for text in texts]
    found = []
    for text, output in zip(texts, llm.generate(prompts, params, use_tqdm=False), strict=True):
        given = zip(text.token_ids[1:], (output.prompt_logprobs or [])[1:], strict=True)
        found.append(np.array([-entry[token].logprob for token, entry in given if entry is not None]))
    return found


def perplexities(texts: Sequence[Text], found: Sequence[np.ndarray]) -> dict[str, float]:
    """Of the right answers' tokens, and of all tokens but each text's first."""
    answers = [loss[-len(text.answer) :] for text, loss in zip(texts, found, strict=True)]
    parts = {"answers": answers, "all_text": found}
    return {name: math.exp(np.concatenate(part).mean()) for name, part in parts.items()}


def greedy_answers(llm: LLM, texts: Sequence[Text], max_tokens: int) -> list[list[int]]:
    """The model's own answers to the prompts."""
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
    outputs = llm.generate([{"prompt_token_ids": text.prompt} for text in texts], params, use_tqdm=False)
    return [list(output.outputs[0].token_ids) for output in outputs]
