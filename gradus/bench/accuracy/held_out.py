"""The demo model's held-out questions: how they are read, sampled and marked. See docs/demo-model.md.

Knows texts; nothing of engines. Who tokenizes is the caller's choice.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradus.errors import ConfigError

Question = dict[str, Any]
"""A line of `held_out.jsonl`: category, messages, tools, enable_thinking, answer, check, expected."""

FILE = "held_out.jsonl"
MAX_NEW_TOKENS = 128


def load_questions(model: Path) -> list[Question]:
    """All questions in a model's directory.

    Raises:
        ConfigError: it has none.
    """
    try:
        lines = (model / FILE).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(
            f"{model} has no {FILE}, so its answers cannot be marked; give demo, or a directory that "
            "tools/train_demo_model.py wrote"
        ) from error
    return [json.loads(line) for line in lines]


def sample(questions: Sequence[Question], count: int) -> list[Question]:
    """So many of them, always the same, evenly over the file, which is in the order of the categories.

    Raises:
        ConfigError: below 1, or more than there are.
    """
    if not 1 <= count <= len(questions):
        raise ConfigError(f"questions is {count}; it must be 1 to {len(questions)}")
    return [questions[i * len(questions) // count] for i in range(count)]


def is_right(question: Question, answer: str) -> bool:
    """Whether an answer passes its question's check."""
    check, expected = question["check"], question["expected"]
    if check == "json":
        return _parsed(answer) is not None and _parsed(answer) == _parsed(expected)
    if check == "tool_call":
        is_call = answer.strip().startswith("<tool_call>")
        return is_call and _call(answer) is not None and _call(answer) == _call(expected)
    if check == "thought":
        thought, end, rest = answer.partition("</think>")
        return bool(end) and thought.strip().startswith("<think>") and rest.strip() == expected
    if check == "exact":
        return answer.strip() == expected
    raise ValueError(f"unknown check {check!r}; it must be exact, json, tool_call or thought")


def shares(questions: Sequence[Question], right: Sequence[bool]) -> dict[str, float]:
    """The share of right answers per category, and of all under `overall`."""
    marks: dict[str, list[bool]] = defaultdict(list)
    for question, mark in zip(questions, right, strict=True):
        marks[question["category"]].append(mark)
    return {name: sum(found) / len(found) for name, found in {**marks, "overall": list(right)}.items()}


def _call(text: str) -> Any:
    return _parsed(text.strip().removeprefix("<tool_call>").removesuffix("</tool_call>"))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
