"""What a sample of the demo corpus is, and which content is held out.

A sample names its *contents*: canonical strings such as `add:37,48` or `phrase:red apple`, the same ones
in every category and wording. A content is held out by its hash alone, so a pair of numbers that is held
out never occurs in training: not as a sum, nor in a dialogue, as JSON, in a tool call or in Chinese.
Knows nothing of tokens or models.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Message = dict[str, Any]
HELD_OUT_PERCENT = 10
MAX_DRAWS = 10_000


@cache
def is_held_out(content: str) -> bool:
    """The one split rule of the project: about one content in ten is never trained on."""
    digest = hashlib.sha256(content.encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A conversation whose last message, from the assistant, is the right answer.

    contents: what the sample is about, the asked content first; none means that it is always trained on.
    check: how an answer is judged: `exact`, `json`, `tool_call` or `thought`.
    """

    category: str
    messages: list[Message]
    contents: tuple[str, ...] = ()
    check: str = "exact"
    expected: str = ""  # for `thought`: the answer after the reasoning
    tools: list[dict[str, Any]] = field(default_factory=list)
    thinking: bool = False

    @property
    def answer(self) -> str:
        return self.messages[-1]["content"]

    @property
    def is_train(self) -> bool:
        return not any(is_held_out(content) for content in self.contents)

    @property
    def is_question_held_out(self) -> bool:
        return bool(self.contents) and is_held_out(self.contents[0])


Generator = Callable[[random.Random], Sample]


def draw_train(generate: Generator, rng: random.Random) -> Sample:
    """Draw until every content may be trained on."""
    return _draw(generate, rng, lambda sample: sample.is_train)


def draw_held_out(generate: Generator, rng: random.Random) -> Sample:
    """Draw until the content that is asked for is held out."""
    return _draw(generate, rng, lambda sample: sample.is_question_held_out)


def _draw(generate: Generator, rng: random.Random, accept: Callable[[Sample], bool]) -> Sample:
    for _ in range(MAX_DRAWS):
        sample = generate(rng)
        if accept(sample):
            return sample
    raise RuntimeError(f"{generate.__module__} gave no acceptable sample in {MAX_DRAWS} draws")


def ask(question: str, answer: str) -> list[Message]:
    """The messages of a single turn."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def listed(text: str, separator: str | None = None) -> list[str]:
    """A list written as one text, which is easier to read than a list of quoted words."""
    return text.split(separator)
