"""Rules of a grammar for tool calls, in the format that the model's replies have.

Written in llguidance's dialect of Lark: `<[5]>` is token 5, `%json` a JSON Schema. Source: llguidance's
docs/syntax.md. Knows nothing of compilers or engines.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gradus.text.reply import hermes, mistral
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.tools import FunctionTool

MAX_CALLS = 16

# As Python's `json.dumps` and Jinja's `tojson` write it, which is what models have been trained on.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}

ANYTHING = "/(.|\\n)*/"

Mark = Callable[[str], str]  # a format's mark, as Lark


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How a format writes calls; in Lark but for the mark, which is what opens them, if anything does."""

    mark: str = ""
    before: str = ""  # the first call, after the mark
    opening: Callable[[str], str]  # of a call until its arguments, given the function's name
    closing: str = ""
    between: str  # two calls
    after: str = ""  # the last one


def call_rules(
    reply_format: ReplyFormat, tools: Sequence[FunctionTool], max_calls: int | None, mark: Mark
) -> list[str]:
    """The rule `calls`, one or more calls of `tools` with valid arguments, and those that it needs.

    `calls` is the format's mark and then `marked`.
    """
    shape = _SHAPES[reply_format.tool_calls](reply_format, mark)
    num_more = (max_calls or MAX_CALLS) - 1
    more = f"({shape.between} call){{0,{num_more}}}" if num_more else ""
    lines = [
        f"calls: {mark(shape.mark) if shape.mark else ''} marked",
        f"marked: {shape.before} call {more} {shape.after}",
        "call: " + " | ".join(f"call_{i}" for i in range(len(tools))),
    ]
    for i, tool in enumerate(tools):
        lines.append(f"call_{i}: {shape.opening(tool.name)} arguments_{i} {shape.closing}")
        lines.append(f"arguments_{i}: %json {json.dumps(arguments_schema(tool))}")
    return lines


def free_rules(reply_format: ReplyFormat, mark: Mark) -> list[str]:
    """The rule `free`: any text, in which calls are calls of `call_rules`; nothing follows them."""
    opening = _SHAPES[reply_format.tool_calls](reply_format, mark).mark
    if not opening:
        return ["free: calls | TEXT?", r"TEXT: /[ \t\r\n]*[^{ \t\r\n](.|\n)*/"]
    if is_token(mark(opening)):
        return [f"free: TEXT? ({mark(opening)} marked)?", f"TEXT: {ANYTHING}"]
    found = re.escape(opening)
    return [
        "free: until_mark marked | TEXT?",
        f"until_mark[lazy]: /(.|\\n)*{found}/",
        f"TEXT: {ANYTHING} & ~/(.|\\n)*{found}(.|\\n)*/",
    ]


def is_token(lark: str) -> bool:
    """Whether a mark is one special token, which no text has."""
    return lark.startswith("<[")


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
        mark=hermes.OPENING,
        opening=lambda name: literal("\n" + _object_until(name, "arguments")),
        closing=f'"}}\\n" {mark(hermes.CLOSING)}',
        between=f'"\\n" {mark(hermes.OPENING)}',
    )


def _llama3_json(_: ReplyFormat, mark: Mark) -> _Shape:
    return _Shape(
        opening=lambda name: literal(_object_until(name, "parameters")), closing='"}"', between='"; "'
    )


def _mistral(reply_format: ReplyFormat, mark: Mark) -> _Shape:
    if reply_format.args_mark:
        return _Shape(
            mark=mistral.TOOL_CALLS,
            opening=lambda name: literal(name) + mark(mistral.ARGS),
            between=mark(mistral.TOOL_CALLS),
        )
    return _Shape(
        mark=mistral.TOOL_CALLS,
        before='" "? "["',
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
