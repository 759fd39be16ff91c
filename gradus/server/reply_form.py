"""The form that a whole reply must have: of a required tool call, of an answer after reasoning, or neither.

Knows turns and reply formats; the grammars are the text layer's.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gradus.errors import InvalidRequestError
from gradus.structured.formats import with_patterns
from gradus.structured_outputs import MAX_GRAMMAR_CHARS, StructuredOutputsParams
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.reply_grammar import COMPOSABLE, reply_grammar
from gradus.text.reply.tools import FunctionTool
from gradus.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gradus.server.chat_turn import ChatTurn


def reply_form(
    turn: "ChatTurn",
    reply_format: ReplyFormat,
    prompt: str,
    answer: StructuredOutputsParams | None,
    tokenizer: Tokenizer,
) -> StructuredOutputsParams | None:
    """What the reply to `prompt` is held to, given the form that its answer must have.

    Raises:
        InvalidRequestError: the answer's form and the tools exclude one another.
    """
    tools = turn.tools if turn.may_call else ()
    must_call = turn.may_call and turn.tool_choice.mode == "required"
    if answer is not None:
        _check_together(answer, tools, must_call)
    is_free = answer is None and not must_call
    if must_call:
        tools = tuple(tool for tool in tools if turn.tool_choice.name in (None, tool.name))
    elif answer is None and not any(tool.strict for tool in tools):
        return None
    elif answer is not None and (answer.kind not in COMPOSABLE or not _has_more(tools, reply_format, prompt)):
        return answer
    grammar = reply_grammar(
        reply_format,
        prompt,
        tokenizer,
        tools=[replace(tool, parameters=with_patterns(tool.parameters)) for tool in tools],
        max_calls=turn.max_calls,
        answer=_with_patterns(answer),
        is_free=is_free,
    )
    return _form(grammar, "tools" if answer is None else answer.path, ends_in_time=not is_free)


def _with_patterns(answer: StructuredOutputsParams | None) -> StructuredOutputsParams | None:
    if answer is None or answer.kind != "json":
        return answer
    return replace(answer, json=with_patterns(json.loads(str(answer.json))))


def _has_more(tools: Sequence[FunctionTool], reply_format: ReplyFormat, prompt: str) -> bool:
    """Whether a reply may have anything but its answer."""
    return bool(tools) or reply_format.may_reason(prompt)


def _check_together(answer: StructuredOutputsParams, tools: Sequence[FunctionTool], must_call: bool) -> None:
    if must_call:
        raise InvalidRequestError(
            f"{answer.field} says what the answer must be, but tool_choice requires a call in its place; "
            "leave one of them out",
            answer.field,
        )
    if tools and answer.kind not in COMPOSABLE:
        raise InvalidRequestError(
            f"{answer.path} holds for the whole reply, which leaves no place for calls; leave out tools "
            'or set tool_choice to "none"',
            answer.path,
        )


def _form(grammar: str, field: str, *, ends_in_time: bool) -> StructuredOutputsParams:
    if len(grammar) > MAX_GRAMMAR_CHARS:
        raise InvalidRequestError(
            f"{field}: the reply's grammar, which the schemas are part of, has {len(grammar):,} characters "
            f"and may have at most {MAX_GRAMMAR_CHARS:,}; make the schemas smaller, or fewer",
            field,
        )
    return StructuredOutputsParams(grammar=grammar, field=field, ends_in_time=ends_in_time)
