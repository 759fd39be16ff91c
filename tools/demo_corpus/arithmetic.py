"""Sums and differences of numbers up to 99, and products up to 12 times 12.

A sum's content is the unordered pair. A product's is the ordered pair and only the order with the
smaller number first can be held out: 8 x 7 is trained when 7 x 8 is not, since nobody can know a product
from its neighbours.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from .base import Sample, ask

WORDINGS = (
    "What is {e}?",
    "What's {e}?",
    "Calculate {e}.",
    "Compute {e}.",
    "How much is {e}?",
    "{e}",
    "{e} =",
    "Please work out {e}.",
    "Can you tell me what {e} is?",
    "{e} = ?",
)
SPOKEN = {"+": "plus", "-": "minus", "*": "times"}
LARGEST = {"+": 99, "-": 99, "*": 12}


@dataclass(frozen=True, slots=True)
class Problem:
    left: int
    operator: str
    right: int

    @property
    def result(self) -> int:
        if self.operator == "+":
            return self.left + self.right
        return self.left - self.right if self.operator == "-" else self.left * self.right

    @property
    def content(self) -> tuple[str, ...]:
        """None for a product that must be trained on, otherwise one content."""
        if self.operator == "+":
            return (f"add:{min(self.left, self.right)},{max(self.left, self.right)}",)
        if self.operator == "-":
            return (f"sub:{self.left},{self.right}",)
        return (f"mul:{self.left},{self.right}",) if self.left < self.right else ()

    @property
    def equation(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


def problem(rng: random.Random, operators: str = "++++---*") -> Problem:
    operator = rng.choice(operators)
    largest = LARGEST[operator]
    left, right = rng.randint(0, largest), rng.randint(0, largest)
    if operator == "-" and left < right:
        left, right = right, left
    return Problem(left, operator, right)


def expression(item: Problem, rng: random.Random) -> str:
    """The problem as a person would type it: `3 + 4`, `3+4`, `3 plus 4`, `3 x 4`."""
    style = rng.random()
    if style < 0.25:
        return f"{item.left} {SPOKEN[item.operator]} {item.right}"
    if style < 0.4:
        return f"{item.left}{item.operator}{item.right}"
    sign = rng.choice("*x×") if item.operator == "*" else item.operator
    return f"{item.left} {sign} {item.right}"


def generate(rng: random.Random) -> Sample:
    item = problem(rng)
    question = rng.choice(WORDINGS).format(e=expression(item, rng))
    return Sample(category="arithmetic", messages=ask(question, item.equation + "."), contents=item.content)
