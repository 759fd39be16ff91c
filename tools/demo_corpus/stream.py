"""Mixing the categories: the endless training stream, and the fixed list of held-out questions."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from . import (
    arithmetic,
    calendar,
    case,
    dialogue,
    facts,
    greetings,
    json_answers,
    refusal,
    sequences,
    thinking,
    tool_calls,
    translation,
    unicode,
)
from .base import Generator, Message, Sample, draw_held_out, draw_train

# How often each category is drawn in each stage of the training: what is easy is soon learned, while copying
# names, stopping a count in time and reading tools take longer.
CATEGORIES: dict[str, tuple[Generator, tuple[float, float, float]]] = {
    "arithmetic": (arithmetic.generate, (5.0, 4.0, 4.0)),
    "sequences": (sequences.generate, (2.0, 3.2, 3.4)),
    "calendar": (calendar.generate, (1.2, 1.6, 0.8)),
    "case": (case.generate, (1.6, 1.6, 1.2)),
    "translation": (translation.generate, (3.5, 2.8, 1.6)),
    "facts": (facts.generate, (1.2, 0.7, 1.0)),
    "greetings": (greetings.generate, (0.6, 0.4, 0.4)),
    "json": (json_answers.generate, (1.8, 3.2, 6.0)),
    "tools": (tool_calls.generate, (2.2, 4.4, 4.4)),
    "thinking": (thinking.generate, (1.0, 1.7, 1.2)),
    "refusal": (refusal.generate, (0.7, 0.4, 0.4)),
    "dialogue": (dialogue.generate, (1.3, 2.4, 4.0)),
    "unicode": (unicode.generate, (1.6, 2.4, 3.4)),
}
SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are the demo model of Gradus.",
    "Answer briefly.",
    "You are a friendly assistant. Answer in one sentence.",
    "Be short and precise.",
)
HELD_OUT_PER_CATEGORY = 55


def _draw_any(rng: random.Random, stage: int) -> Sample:
    generators, weights = zip(*CATEGORIES.values(), strict=True)
    return draw_train(rng.choices(generators, [of_stage[stage] for of_stage in weights])[0], rng)


def _history(rng: random.Random, turns: int, stage: int) -> list[Message]:
    """Finished turns on other subjects, without tools and thoughts."""
    messages: list[Message] = []
    while turns > 0:
        sample = _draw_any(rng, stage)
        if not sample.tools and not sample.thinking:
            messages += sample.messages
            turns -= 1
    return messages


def training_stream(seed: int, stage: int = 0, long: bool = False) -> Iterator[Sample]:
    """Samples without end.

    Args:
        stage: 0, 1 or 2; which of the weights of the categories to draw with.
        long: put several finished turns before many samples, for longer contexts.
    """
    rng = random.Random(f"train-{seed}-{long}")
    while True:
        sample = _draw_any(rng, stage)
        messages = sample.messages
        if rng.random() < (0.4 if long else 0.12):
            messages = _history(rng, rng.randint(2, 8) if long else rng.choice((1, 1, 2)), stage) + messages
        if rng.random() < 0.1:
            messages = [{"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}, *messages]
        yield replace(sample, messages=messages)


def held_out_samples(per_category: int = HELD_OUT_PER_CATEGORY, seed: int = 0) -> list[Sample]:
    """The questions of the test, the same ones every time, no question twice."""
    samples = []
    for category, (generate, _) in CATEGORIES.items():
        rng = random.Random(f"held-out-{seed}-{category}")
        chosen: dict[str, Sample] = {}
        while len(chosen) < per_category:
            sample = draw_held_out(generate, rng)
            chosen.setdefault(json.dumps(sample.messages[:-1]), sample)
        samples += chosen.values()
    return samples


def held_out_row(sample: Sample) -> dict[str, Any]:
    """A line of `held_out.jsonl`: the question, the right answer, and how an answer is checked."""
    return {
        "category": sample.category,
        "messages": sample.messages[:-1],
        "tools": sample.tools or None,
        "enable_thinking": sample.thinking,
        "answer": sample.answer,
        "check": sample.check,
        "expected": sample.expected or sample.answer,
    }
