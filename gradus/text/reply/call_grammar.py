"""Rules of a grammar for tool calls, in the format that the model's replies have.

Written in llguidance's dialect of Lark: `<[5]>` is token 5, `%json` a JSON Schema. Source: llguidance's
docs/syntax.md. Knows nothing of compilers or engines.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradus.text.reply import hermes, mistral
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.tools import FunctionTool

MAX_CALLS = 16

# As Python's `json.dumps` and Jinja's `tojson` write it, which is what models have been trained on.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

Mark = Callable[[str], str]  # a format's mark, as Lark


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How a format writes calls: what is around them all, and around the arguments of each; in Lark."""

    before: str = ""
    opening: Callable[[str], str]  # of a call, given the function's name
    closing: str = ""
    between: str
    after: str = ""


def call_rules(
    reply_format: ReplyFormat, tools: Sequence[FunctionTool], max_calls: int | None, mark: Mark
) -> list[str]:
    """The rule `calls`, one or more calls of `tools` with valid arguments, and those that it needs."""
    shape = _SHAPES[reply_format.tool_calls](reply_format, mark)
    num_more = (max_calls or MAX_CALLS) - 1
    more = f"({shape.between} call){{0,{num_more}}}" if num_more else ""
    lines = [
        f"calls: {shape.before} call {more} {shape.after}",
        "call: " + " | ".join(f"call_{i}" for i in range(len(tools))),
    ]
    for i, tool in enumerate(tools):
        lines.append(f"call_{i}: {shape.opening(tool.name)} arguments_{i} {shape.closing}")
        lines.append(f"arguments_{i}: %json {json.dumps(arguments_schema(tool))}")
    return lines


def arguments_schema(tool: FunctionTool) -> dict[str, Any]:
    """What the arguments must be: what the function declares, and nothing beside its declared properties.

    JSON Schema lets other properties in unless told not to; a model that is held to a schema would go on
    inventing them. Where others are declared in another way, they stay possible.
    """
    schema = {"type": "object", **tool.parameters}
    if not {"patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if"} & schema.keys():
        schema.setdefault("additionalProperties", False)
    return {**schema, "x-guidance": _SPACING}


def literal(text: str) -> str:
    """A text in Lark, whose strings have JSON's escapes."""
    return json.dumps(text)


def _hermes(_: ReplyFormat, mark: Mark) -> _Shape:
    return _Shape(
        opening=lambda name: mark(hermes.OPENING) + literal("\n" + _object_until(name, "arguments")),
        closing=f'"}}\\n" {mark(hermes.CLOSING)}',
        between='"\\n"',
    )


def _llama3_json(_: ReplyFormat, mark: Mark) -> _Shape:
    return _Shape(
        opening=lambda name: literal(_object_until(name, "parameters")), closing='"}"', between='"; "'
    )


def _mistral(reply_format: ReplyFormat, mark: Mark) -> _Shape:
    if reply_format.args_mark:
        args = mark(mistral.ARGS)
        return _Shape(opening=lambda name: f"{mark(mistral.TOOL_CALLS)} {literal(name)} {args}", between='""')
    return _Shape(
        before=f'{mark(mistral.TOOL_CALLS)} " "? "["',
        opening=lambda name: literal(_object_until(name, "arguments")),
        closing='"}"',
        between='", "',
        after='"]"',
    )


_SHAPES: dict[str, Callable[[ReplyFormat, Mark], _Shape]] = {
    "hermes": _hermes,
    "llama3_json": _llama3_json,
    "mistral": _mistral,
}


def _object_until(name: str, key: str) -> str:
    return f'{{"name": {json.dumps(name)}, "{key}": '
