"""Short reasoning between think tags, when thinking is switched on: column sums, days, and two-step sums."""

from __future__ import annotations

import random

from . import facts, greetings, refusal, sequences
from .arithmetic import WORDINGS, Problem, expression, problem
from .base import Sample, ask
from .calendar import DAYS
from .names import person

STORY = (
    "{n} has {a} {t}s and gets {b} more. How many {t}s are there?",
    "There are {a} {t}s in one bag and {b} in another. How many {t}s are there?",
)
PLAIN = (
    (greetings.generate, "This is a greeting."),
    (facts.generate, "I know this fact."),
    (sequences.generate, "I count."),
    (refusal.generate, "I do not know this."),
)
ITEMS = ("apple", "book", "egg", "key", "star", "letter", "flower", "lamp")


def thought(reasoning: str, answer: str) -> str:
    return f"<think>\n{reasoning}\n</think>\n\n{answer}"


def column_sum(item: Problem) -> str:
    """The steps of a sum by columns, ones first."""
    ones = item.left % 10 + item.right % 10
    carry = ones // 10
    tens = item.left // 10 + item.right // 10 + carry
    first = f"Ones: {item.left % 10} + {item.right % 10} = {ones}, write {ones % 10}, carry {carry}."
    return f"{first}\nTens: {item.left // 10} + {item.right // 10} + {carry} = {tens}."


def sum_steps(rng: random.Random) -> Sample:
    item = problem(rng, "+")
    question = rng.choice(WORDINGS).format(e=expression(item, rng))
    return _sample(question, column_sum(item), item.equation + ".", item.content)


def story(rng: random.Random) -> Sample:
    item, thing = problem(rng, "+"), rng.choice(ITEMS)
    name = person(rng)
    question = rng.choice(STORY).format(n=name, a=item.left, b=item.right, t=thing)
    return _sample(
        question, column_sum(item), f"There are {item.result} {thing}s.", (*item.content, f"word:{name}")
    )


def day_steps(rng: random.Random) -> Sample:
    way, sign = rng.choice((("after", 1), ("before", -1)))
    start, n = rng.randrange(7), rng.randint(2, 6)
    walk = [DAYS[(start + sign * i) % 7] for i in range(1, n + 1)]
    question = f"What day is {n} days {way} {DAYS[start]}?"
    reasoning = "\n".join(f"{i}: {day}" for i, day in enumerate(walk, 1))
    return _sample(question, reasoning, f"It is {walk[-1]}.", (f"day:{DAYS[start]},{sign * n}",))


def larger(rng: random.Random) -> Sample:
    left, right = rng.sample(range(100), 2)
    question = rng.choice(("Which is larger, {a} or {b}?", "Which number is bigger: {a} or {b}?"))
    relation = "more" if left > right else "less"
    reasoning = f"{left} is {relation} than {right}."
    return _sample(
        question.format(a=left, b=right),
        reasoning,
        f"{max(left, right)} is larger.",
        (f"larger:{left},{right}",),
    )


def plain(rng: random.Random) -> Sample:
    """A question of another category that needs next to no thought."""
    generate_other, reasoning = rng.choice(PLAIN)
    other = generate_other(rng)
    return _sample(other.messages[0]["content"], reasoning, other.answer, other.contents)


def _sample(question: str, reasoning: str, answer: str, contents: tuple[str, ...]) -> Sample:
    messages = ask(question, thought(reasoning, answer))
    return Sample(
        category="thinking",
        messages=messages,
        contents=contents,
        thinking=True,
        check="thought",
        expected=answer,
    )


def generate(rng: random.Random) -> Sample:
    return rng.choice((sum_steps, story, day_steps, larger, plain))(rng)
