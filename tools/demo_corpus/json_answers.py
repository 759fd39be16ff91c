"""Answers as JSON: facts drawn out of a sentence, lists, counts, and results of sums."""

from __future__ import annotations

import json
import random

from .arithmetic import expression, problem
from .base import Sample, ask
from .lexicon import ADJECTIVES, LIVING, THINGS
from .names import city, person

REQUESTS = (
    "Answer in JSON. {s}",
    "{s} Give this as JSON.",
    "As JSON: {s}",
    "Extract JSON: {s}",
    "{s} Reply with JSON.",
)


def _sample(request: str, value: dict[str, object], contents: tuple[str, ...]) -> Sample:
    answer = json.dumps(value, ensure_ascii=False)
    return Sample(category="json", messages=ask(request, answer), contents=contents, check="json")


def _extract(rng: random.Random, sentence: str, value: dict[str, object]) -> Sample:
    name, place = value.get("name"), value.get("city")
    contents = [f"person:{','.join(map(str, value.values()))}", f"word:{name}"]
    if place:
        contents.append(f"word:{place}")
    return _sample(rng.choice(REQUESTS).format(s=sentence), value, tuple(contents))


def name_and_age(rng: random.Random) -> Sample:
    name, age = person(rng), rng.randint(5, 99)
    sentence = rng.choice(("{n} is {a} years old.", "{n} is {a}.", "My friend {n} is {a} years old."))
    value = {"name": name, "age": age}
    return _extract(rng, sentence.format(n=name, a=age), value)


def name_age_city(rng: random.Random) -> Sample:
    name, age, place = person(rng), rng.randint(5, 99), city(rng)
    sentence = rng.choice(("{n} is {a} years old and lives in {c}.", "{n}, {a}, lives in {c}."))
    value = {"name": name, "age": age, "city": place}
    return _extract(rng, sentence.format(n=name, a=age, c=place), value)


def name_and_city(rng: random.Random) -> Sample:
    name, place = person(rng), city(rng)
    sentence = rng.choice(("{n} lives in {c}.", "{n} is from {c}.", "{n} comes from {c}."))
    return _extract(rng, sentence.format(n=name, c=place), {"name": name, "city": place})


def owned_thing(rng: random.Random) -> Sample:
    colour, thing = rng.choice(ADJECTIVES[:7]).english, rng.choice(THINGS).english
    owner = rng.choice(LIVING).english
    sentence = f"The {owner} has a {colour} {thing}."
    value = {"owner": owner, "thing": thing, "color": colour}
    return _sample(
        rng.choice(REQUESTS).format(s=sentence),
        value,
        (f"owned:{owner},{colour} {thing}", f"phrase:{colour} {thing}"),
    )


def item_list(rng: random.Random) -> Sample:
    items = [noun.english for noun in rng.sample(THINGS, rng.randint(2, 4))]
    text = f"{', '.join(items[:-1])} and {items[-1]}"
    request = rng.choice(("List {t} as JSON.", "Put {t} into a JSON list.", "Make a JSON list of {t}."))
    return _sample(request.format(t=text), {"items": items}, (f"items:{','.join(items)}",))


def result(rng: random.Random) -> Sample:
    item = problem(rng)
    request = rng.choice(("What is {e}? Answer in JSON.", "Answer in JSON: {e}", "As JSON: what is {e}?"))
    return _sample(request.format(e=expression(item, rng)), {"answer": item.result}, item.content)


def generate(rng: random.Random) -> Sample:
    return rng.choice((name_and_age, name_age_city, name_and_city, owned_thing, item_list, result))(rng)
