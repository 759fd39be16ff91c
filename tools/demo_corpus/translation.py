"""Translation among English, French and Chinese: words are trained, the phrases and sentences asked for are
new.
"""

from __future__ import annotations

import random

from .base import Sample, ask
from .lexicon import (
    ADJECTIVES,
    LANGUAGES,
    LIVING,
    NOUNS,
    THINGS,
    VERBS,
    adjective_phrase,
    noun_phrase,
    sentence,
)

WORDINGS = (
    "Translate to {language}: {text}",
    "Translate into {language}: {text}",
    'How do you say "{text}" in {language}?',
    'What is "{text}" in {language}?',
    "{text} in {language}?",
    "Say this in {language}: {text}",
)
WORDINGS_CHINESE = {
    "English": ("翻译成英文：{text}", "“{text}”用英文怎么说？"),
    "French": ("翻译成法文：{text}", "“{text}”用法文怎么说？"),
}


def phrase(rng: random.Random) -> tuple[dict[str, str], tuple[str, ...]]:
    """A phrase in every language, and its contents; a noun alone has none, it is always trained on."""
    style = rng.random()
    if style < 0.15:
        return noun_phrase(rng.choice(NOUNS)), ()
    if style < 0.55:
        adjective, noun = rng.choice(ADJECTIVES), rng.choice(NOUNS)
        return adjective_phrase(adjective, noun), (f"phrase:{adjective.english} {noun.english}",)
    subject, verb, thing = rng.choice(LIVING), rng.choice(VERBS), rng.choice(THINGS)
    words = sentence(subject, verb, thing)
    return words, (f"sentence:{words['English']}",)


def generate(rng: random.Random) -> Sample:
    words, contents = phrase(rng)
    source, target = rng.sample(LANGUAGES, 2)
    wordings = WORDINGS
    if source == "Chinese" and rng.random() < 0.3:
        wordings = WORDINGS_CHINESE[target]
    question = rng.choice(wordings).format(language=target, text=words[source])
    return Sample(category="translation", messages=ask(question, words[target]), contents=contents)
