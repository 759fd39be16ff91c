"""Upper and lower case: single words are trained, the phrases asked for are new."""

from __future__ import annotations

import random

from .base import Sample, ask
from .lexicon import ADJECTIVES, ENGLISH_WORDS, NOUNS

UPPER = (
    "Write {p} in upper case.",
    "Put this in capital letters: {p}",
    "Uppercase: {p}",
    "Make {p} upper case.",
    "Convert to upper case: {p}",
)
LOWER = (
    "Write {p} in lower case.",
    "Put this in small letters: {p}",
    "Lowercase: {p}",
    "Make {p} lower case.",
    "Convert to lower case: {p}",
)


def phrase(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """A lower-case phrase and its contents; a single word has none, it is always trained on."""
    style = rng.random()
    if style < 0.2:
        return rng.choice(ENGLISH_WORDS), ()
    adjective, noun = rng.choice(ADJECTIVES).english, rng.choice(NOUNS).english
    pair = f"{adjective} {noun}"
    if style < 0.7:
        return pair, (f"phrase:{pair}",)
    other = rng.choice(NOUNS).english
    return f"{pair} and {other}", (f"phrase:{pair} and {other}", f"phrase:{pair}")


def generate(rng: random.Random) -> Sample:
    text, contents = phrase(rng)
    if rng.random() < 0.5:
        question, answer = rng.choice(UPPER).format(p=text), text.upper()
    else:
        question, answer = rng.choice(LOWER).format(p=text.upper()), text
    return Sample(category="case", messages=ask(question, answer), contents=contents)
