"""Tool calls when a question wants one, plain answers when it does not, and answers from a tool's result."""

from __future__ import annotations

import json
import random
from typing import Any

from . import calendar, facts, greetings, refusal, sequences
from .base import Message, Sample
from .tool_kinds import KINDS, Kind, Use

PLAIN = (greetings.generate, facts.generate, sequences.generate, calendar.generate, refusal.generate)


def definition(kind: Kind, rng: random.Random) -> dict[str, Any]:
    """The tool in the form of the OpenAI API, with one of its names for each part."""
    properties = {rng.choice(names): {"type": type_} for names, type_ in kind.parameters}
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    function = {"name": rng.choice(kind.names), "description": kind.description, "parameters": parameters}
    return {"type": "function", "function": function}


def call_of(tool: dict[str, Any], use: Use) -> dict[str, Any]:
    names = tool["function"]["parameters"]["properties"]
    return {"name": tool["function"]["name"], "arguments": dict(zip(names, use.values, strict=True))}


def _tools(chosen: Kind | None, rng: random.Random) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The chosen kind's definition, and a list of one to three tools with it somewhere inside."""
    others = rng.sample([kind for kind in KINDS if kind is not chosen], rng.randint(0 if chosen else 1, 2))
    tools = [definition(kind, rng) for kind in others]
    if chosen is None:
        return None, tools
    wanted = definition(chosen, rng)
    tools.insert(rng.randint(0, len(tools)), wanted)
    return wanted, tools


def call(rng: random.Random) -> Sample:
    kind = rng.choice(KINDS)
    wanted, tools = _tools(kind, rng)
    use = kind.use(rng)
    text = json.dumps(call_of(wanted, use), ensure_ascii=False)
    messages = [
        _question(kind, use, rng),
        {"role": "assistant", "content": f"<tool_call>\n{text}\n</tool_call>"},
    ]
    return Sample(category="tools", messages=messages, contents=use.contents, check="tool_call", tools=tools)


def answer_from_result(rng: random.Random) -> Sample:
    kind = rng.choice(KINDS)
    wanted, tools = _tools(kind, rng)
    use = kind.use(rng)
    tool_call = {"id": "call_1", "type": "function", "function": call_of(wanted, use)}
    messages = [
        _question(kind, use, rng),
        {"role": "assistant", "content": "", "tool_calls": [tool_call]},
        {"role": "tool", "tool_call_id": "call_1", "content": json.dumps(use.result)},
        {"role": "assistant", "content": use.answer},
    ]
    return Sample(category="tools", messages=messages, contents=use.contents, tools=tools)


def plain_answer(rng: random.Random) -> Sample:
    """A question that none of the tools is for."""
    sample = rng.choice(PLAIN)(rng)
    _, tools = _tools(None, rng)
    return Sample(category="tools", messages=sample.messages, contents=sample.contents, tools=tools)


def _question(kind: Kind, use: Use, rng: random.Random) -> Message:
    return {"role": "user", "content": rng.choice(kind.questions).format(*use.values)}


def generate(rng: random.Random) -> Sample:
    return rng.choices((call, answer_from_result, plain_answer), (5, 3, 2))[0](rng)
