"""The tools of the corpus: their names, parameters, the questions that want them, and what they give back.

Names vary (`get_weather(city)`, `weather(location)`), so that a model must read the tools that it is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .arithmetic import problem
from .calendar import DAYS
from .facts import CONCEPTS
from .lexicon import ADJECTIVES, LANGUAGES, THINGS
from .names import city, person

CURRENCIES = ["EUR", "USD", "GBP", "CHF", "JPY", "CNY"]
ROOMS = ["kitchen", "bedroom", "garden", "office", "bathroom", "garage", "hall"]
CONDITIONS = ["sunny", "cloudy", "rainy", "windy", "snowy", "foggy"]


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a tool: its arguments in order, the contents it is about, a result, and its answer."""

    values: tuple[Any, ...]
    contents: tuple[str, ...]
    result: dict[str, Any]
    answer: str


@dataclass(frozen=True, slots=True)
class Kind:
    names: tuple[str, ...]
    description: str
    parameters: tuple[tuple[tuple[str, ...], str], ...]  # the names a parameter may have, and its type
    questions: tuple[str, ...]  # {0}, {1}, ... are the arguments
    use: Callable[[random.Random], Use]


def _weather(rng: random.Random) -> Use:
    place, degrees, sky = city(rng), rng.randint(-9, 35), rng.choice(CONDITIONS)
    result = {"temperature": degrees, "condition": sky}
    return Use((place,), _contents("weather", place, f"word:{place}"), result,
               f"It is {degrees} degrees and {sky} in {place}.")  # fmt: skip


def _time(rng: random.Random) -> Use:
    place, clock = city(rng), f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
    return Use(
        (place,), _contents("time", place, f"word:{place}"), {"time": clock}, f"It is {clock} in {place}."
    )


def _add(rng: random.Random) -> Use:
    item = problem(rng, "+")
    return Use(
        (item.left, item.right), item.content, {"result": item.result}, f"The result is {item.result}."
    )


def _subtract(rng: random.Random) -> Use:
    item = problem(rng, "-")
    return Use(
        (item.left, item.right), item.content, {"result": item.result}, f"The result is {item.result}."
    )


def _search(rng: random.Random) -> Use:
    count = rng.randint(1, 99)
    query = rng.choice(list(CONCEPTS))
    contents = _contents("search", query)
    if rng.random() < 0.7:
        query = f"{rng.choice(ADJECTIVES).english} {rng.choice(THINGS).english}"
        contents = (f"phrase:{query}",)
    return Use((query,), contents, {"results": count}, f"I found {count} results for {query}.")


def _timer(rng: random.Random) -> Use:
    minutes = rng.randint(1, 99)
    return Use(
        (minutes,), _contents("timer", minutes), {"ok": True}, f"The timer is set for {minutes} minutes."
    )


def _convert(rng: random.Random) -> Use:
    amount, (source, target) = rng.randint(2, 99), rng.sample(CURRENCIES, 2)
    got = rng.randint(1, 199)
    contents = _contents("convert", f"{amount},{source},{target}")
    return Use((amount, source, target), contents, {"amount": got}, f"{amount} {source} is {got} {target}.")


def _translate(rng: random.Random) -> Use:
    text = f"{rng.choice(ADJECTIVES).english} {rng.choice(THINGS).english}"
    language = rng.choice(LANGUAGES[1:])
    return Use((text, language), (f"phrase:{text}",), {"ok": True}, "The translation is ready.")


def _message(rng: random.Random) -> Use:
    name, text = (
        person(rng),
        rng.choice(("hello", "thank you", "see you soon", "good night", "call me", "well done")),
    )
    contents = _contents("message", f"{name},{text}", f"word:{name}")
    return Use((name, text), contents, {"sent": True}, f"The message to {name} is sent.")


def _light(rng: random.Random) -> Use:
    room, level = rng.choice(ROOMS), rng.randint(1, 99)
    return Use((room, level), _contents("light", f"{room},{level}"), {"ok": True},
               f"The light in the {room} is at {level} percent.")  # fmt: skip


def _price(rng: random.Random) -> Use:
    thing, price = f"{rng.choice(ADJECTIVES).english} {rng.choice(THINGS).english}", rng.randint(1, 99)
    return Use((thing,), (f"phrase:{thing}",), {"price": price}, f"The {thing} costs {price}.")


def _events(rng: random.Random) -> Use:
    day, hour, count = rng.choice(DAYS), rng.randint(1, 12), rng.randint(0, 9)
    return Use((day, hour), _contents("events", f"{day},{hour}"), {"events": count},
               f"You have {count} events on {day} from {hour}.")  # fmt: skip


def _contents(kind: str, value: object, *more: str) -> tuple[str, ...]:
    return (f"call:{kind}:{value}", *more)


_CITY = (("city", "location", "place", "town"), "string")
KINDS = (
    Kind(("get_weather", "weather", "current_weather", "fetch_weather"), "Get the weather", (_CITY,),
         ("What is the weather in {0}?", "How is the weather in {0}?", "Is it cold in {0}?",
          "Weather in {0}?"),
         _weather),
    Kind(("get_time", "time_in", "current_time", "clock"), "Get the time", (_CITY,),
         ("What time is it in {0}?", "Tell me the time in {0}.", "How late is it in {0}?", "Time in {0}?"),
          _time),
    Kind(("add", "sum", "add_numbers", "plus"), "Add two numbers",
         ((("a", "x", "left"), "integer"), (("b", "y", "right"), "integer")),
         ("What is {0} + {1}?", "Add {0} and {1}.", "Use the tool: {0} + {1}",
          "How much is {0} plus {1}?"), _add),
    Kind(("subtract", "minus", "difference"), "Subtract two numbers",
         ((("a", "x", "left"), "integer"), (("b", "y", "right"), "integer")),
         ("What is {0} - {1}?", "Use the tool: {0} - {1}", "How much is {0} minus {1}?"), _subtract),
    Kind(("search", "web_search", "find", "lookup"), "Search the web", ((("query", "q", "text"), "string"),),
         ("Search for {0}.", "Find {0} on the web.", "Look up {0}.", "Please search {0}."), _search),
    Kind(("set_timer", "timer", "start_timer"), "Start a timer",
         ((("minutes", "duration", "min"), "integer"),),
         ("Set a timer for {0} minutes.", "Wake me in {0} minutes.", "Start a timer of {0} minutes."),
          _timer),
    Kind(("convert_currency", "convert", "exchange"), "Convert money",
         ((("amount", "value"), "number"), (("from", "source"), "string"), (("to", "target"), "string")),
         ("Convert {0} {1} to {2}.", "How much is {0} {1} in {2}?", "Change {0} {1} into {2}."), _convert),
    Kind(("translate", "translate_text"), "Translate a text",
         ((("text", "phrase"), "string"), (("language", "target"), "string")),
         ("Use the tool to translate {0} to {1}.", "Translate with the tool: {0} to {1}.",
          "Send {0} to the translator, {1} please."), _translate),
    Kind(("send_message", "message", "send_text"), "Send a message",
         ((("to", "name", "recipient"), "string"), (("text", "message"), "string")),
         ("Tell {0}: {1}", "Send {0} the message: {1}", "Write to {0}: {1}"), _message),
    Kind(("set_light", "light", "dim_light"), "Set a light",
         ((("room", "where"), "string"), (("level", "percent"), "integer")),
         ("Set the light in the {0} to {1} percent.", "Dim the {0} to {1}.",
          "Light in the {0}: {1} percent."),
         _light),
    Kind(("get_price", "price_of", "price"), "Get a price", ((("item", "product", "article"), "string"),),
         ("What does the {0} cost?", "How much is the {0}?", "Price of the {0}?"), _price),
    Kind(("list_events", "events", "get_calendar"), "Show the calendar",
         ((("day", "date"), "string"), (("hour", "start"), "integer")),
         ("What is planned on {0} from {1}?", "Show my {0} from {1}.", "Any events on {0} after {1}?"),
          _events),
)  # fmt: skip
