"""Days of the week and months: what comes after or before, and several steps on, counted aloud."""

from __future__ import annotations

import random

from .base import Sample, ask, listed

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = listed("January February March April May June July August September October November December")
STEPS = (
    "What {unit} is {n} {units} {way} {start}?",
    "Which {unit} comes {n} {units} {way} {start}?",
    "Tell me the {unit} {n} {units} {way} {start}.",
    "It is {start}. What {unit} is {n} {units} {way} that?",
)
NEXT = ("What {unit} comes {way} {start}?", "Which {unit} is {way} {start}?", "What comes {way} {start}?")


def neighbour(rng: random.Random) -> Sample:
    """One step: there are too few of these to hold any out."""
    unit, names = rng.choice((("day", DAYS), ("month", MONTHS)))
    way, sign = rng.choice((("after", 1), ("before", -1)))
    start = rng.randrange(len(names))
    question = rng.choice(NEXT).format(unit=unit, way=way, start=names[start])
    answer = f"{names[(start + sign) % len(names)]} comes {way} {names[start]}."
    return Sample(category="calendar", messages=ask(question, answer))


def steps(rng: random.Random) -> Sample:
    unit, names = rng.choice((("day", DAYS), ("month", MONTHS)))
    way, sign = rng.choice((("after", 1), ("before", -1)))
    start, n = rng.randrange(len(names)), rng.randint(2, 6)
    walk = [names[(start + sign * i) % len(names)] for i in range(1, n + 1)]
    question = rng.choice(STEPS).format(unit=unit, units=f"{unit}s", n=n, way=way, start=names[start])
    answer = f"{', '.join(walk)}: {n} {unit}s {way} {names[start]} is {walk[-1]}."
    contents = (f"{unit}:{names[start]},{sign * n}",)
    return Sample(category="calendar", messages=ask(question, answer), contents=contents)


def number(rng: random.Random) -> Sample:
    """Which number a month has; always trained on."""
    index = rng.randrange(12)
    if rng.random() < 0.5:
        return Sample(
            category="calendar",
            messages=ask(
                f"Which number is the month of {MONTHS[index]}?", f"{MONTHS[index]} is month {index + 1}."
            ),
        )
    question = f"Which month is number {index + 1}?"
    return Sample(category="calendar", messages=ask(question, f"Month {index + 1} is {MONTHS[index]}."))


def generate(rng: random.Random) -> Sample:
    return rng.choices((steps, neighbour, number), (6, 2, 1))[0](rng)
