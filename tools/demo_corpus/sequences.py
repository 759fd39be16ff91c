"""Counting: the next number, from here to there, by twos and fives, backwards, and continuing a row."""

from __future__ import annotations

import random

from .base import Sample, ask

COUNT = {
    1: ("Count from {a} to {b}.", "Please count from {a} to {b}.", "List the numbers from {a} to {b}."),
    2: ("Count from {a} to {b} by twos.", "Count by twos from {a} to {b}.", "From {a} to {b} in steps of 2."),
    5: (
        "Count from {a} to {b} by fives.",
        "Count by fives from {a} to {b}.",
        "From {a} to {b} in steps of 5.",
    ),
    10: (
        "Count from {a} to {b} by tens.",
        "Count by tens from {a} to {b}.",
        "From {a} to {b} in steps of 10.",
    ),
    -1: ("Count backwards from {a} to {b}.", "Count down from {a} to {b}.", "Count from {a} down to {b}."),
}
NEIGHBOUR = {
    1: ("What number comes after {a}?", "Which number follows {a}?", "What comes after {a}?"),
    -1: ("What number comes before {a}?", "Which number precedes {a}?", "What comes before {a}?"),
}
CONTINUE = ("Continue: {row}", "What comes next: {row}?", "Continue the sequence {row}.", "{row}, ...")


def count(rng: random.Random) -> Sample:
    step = rng.choice(list(COUNT))
    length = rng.randint(3, 11)
    start = rng.randint(0, 99) if step > 0 else rng.randint(length, 110)
    row = [start + step * i for i in range(length)]
    question = rng.choice(COUNT[step]).format(a=row[0], b=row[-1])
    return _sample(question, row, f"count:{row[0]},{row[-1]},{step}")


def count_up(rng: random.Random) -> Sample:
    stop = rng.randint(3, 20)
    question = rng.choice(("Count to {b}.", "Please count to {b}.", "Count up to {b}.")).format(b=stop)
    return _sample(question, list(range(1, stop + 1)), f"count:1,{stop},1")


def neighbour(rng: random.Random) -> Sample:
    step = rng.choice((1, -1))
    start = rng.randint(1, 199)
    return _sample(rng.choice(NEIGHBOUR[step]).format(a=start), [start + step], f"neighbour:{start},{step}")


def continuation(rng: random.Random) -> Sample:
    step = rng.choice((1, 2, 3, 5, 10, -1, -2))
    start = rng.randint(0, 80) if step > 0 else rng.randint(15, 99)
    row = [start + step * i for i in range(7)]
    question = rng.choice(CONTINUE).format(row=", ".join(map(str, row[:4])))
    return _sample(question, row[4:], f"continue:{start},{step}")


def _sample(question: str, answer: list[int], content: str) -> Sample:
    text = ", ".join(map(str, answer)) + "."
    return Sample(category="sequences", messages=ask(question, text), contents=(content,))


def generate(rng: random.Random) -> Sample:
    return rng.choices((count, neighbour, continuation, count_up), (6, 3, 3, 1))[0](rng)
