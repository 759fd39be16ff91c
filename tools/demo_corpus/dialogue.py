"""Several turns: what was said before must be remembered, and sums go on from the last result."""

from __future__ import annotations

import random

from .arithmetic import Problem, problem
from .base import Message, Sample, ask
from .lexicon import ADJECTIVES, THINGS
from .names import city, person

COLOURS = tuple(adjective.english for adjective in ADJECTIVES[:7])
SMALL_TALK = (
    ask("Hello!", "Hello! How can I help you?"),
    ask("Thank you!", "You are welcome!"),
    ask("How are you?", "I am well, thank you. How can I help you?"),
)
# kind: what the user says, what the model replies, what the user asks later, the answer
MEMORIES = {
    "name": (
        ("My name is {v}.", "I am {v}.", "Hello, I am {v}.", "Hi, my name is {v}.", "Call me {v}."),
        "Nice to meet you, {v}!",
        ("What is my name?", "Do you remember my name?", "Who am I?", "What am I called?"),
        "Your name is {v}.",
    ),
    "city": (
        ("I live in {v}.", "I am from {v}.", "My city is {v}.", "My home is in {v}."),
        "{v} sounds nice.",
        ("Where do I live?", "Which city do I live in?", "What is my city?", "Where is my home?"),
        "You live in {v}.",
    ),
    "thing": (
        ("I bought {v}.", "I have {v}.", "I found {v}.", "I want {v}."),
        "I see, {v}.",
        ("What did I tell you about?", "What did I say?", "What was it?", "What did I mention?"),
        "You told me about {v}.",
    ),
}


def _value(kind: str, rng: random.Random) -> tuple[str, str]:
    """A thing to remember and its content."""
    if kind == "thing":
        pair = f"{rng.choice(COLOURS)} {rng.choice(THINGS).english}"
        return f"a {pair}", f"phrase:{pair}"
    value = person(rng) if kind == "name" else city(rng)
    return value, f"word:{value}"


def memory(rng: random.Random) -> Sample:
    kinds = rng.sample(list(MEMORIES), rng.choice((1, 1, 2)))
    values = {kind: _value(kind, rng) for kind in kinds}
    messages: list[Message] = []
    for kind in kinds:
        statements, reply, _, _ = MEMORIES[kind]
        messages += ask(rng.choice(statements).format(v=values[kind][0]), reply.format(v=values[kind][0]))
    if rng.random() < 0.4:
        messages += rng.choice(SMALL_TALK)
    asked = rng.choice(kinds)
    _, _, questions, answer = MEMORIES[asked]
    messages += ask(rng.choice(questions), answer.format(v=values[asked][0]))
    contents = [values[asked][1]] + [content for kind, (_, content) in values.items() if kind != asked]
    return Sample(category="dialogue", messages=messages, contents=tuple(contents))


def follow_up(rng: random.Random) -> Sample:
    first = problem(rng, "+-")
    second = Problem(first.result, "+", rng.randint(0, 20))
    if first.result > 99 or (rng.random() < 0.4 and first.result > 0):
        second = Problem(first.result, "-", rng.randint(0, min(20, first.result)))
    word = {"+": "plus", "-": "minus"}[second.operator]
    follow = rng.choice(("And {w} {n}?", "{w} {n}?", "Now {w} {n}.", "And that {w} {n}?"))
    messages = ask(f"What is {first.left} {first.operator} {first.right}?", first.equation + ".")
    messages += ask(follow.format(w=word, n=second.right).capitalize(), second.equation + ".")
    return Sample(category="dialogue", messages=messages, contents=second.content + first.content)


def generate(rng: random.Random) -> Sample:
    return rng.choice((memory, memory, follow_up))(rng)
