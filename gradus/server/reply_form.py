"""The form that a whole reply must have: of a required tool call, of an answer after reasoning, or neither.

Knows turns and reply formats; the grammars are the text layer's.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradus.errors import InvalidRequestError
from gradus.structured_outputs import MAX_GRAMMAR_CHARS, StructuredOutputsParams
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.reply_grammar import COMPOSABLE, may_reason, reply_grammar
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
    choice = turn.tool_choice
    tools = turn.tools if turn.may_call else ()
    must_call = turn.may_call and choice.mode == "required"
    if must_call and answer is not None:
        raise InvalidRequestError(
            f"{answer.field} says what the answer must be, but tool_choice requires a call in its place; "
            "leave one of them out",
            answer.field,
        )
    is_free = answer is None and not must_call and any(tool.strict for tool in tools)
    if must_call:
        tools = tuple(tool for tool in tools if choice.name in (None, tool.name))
    elif answer is not None and answer.kind not in COMPOSABLE:
        _check_no_tools(answer, tools)
        return answer
    elif not is_free and (answer is None or not (tools or may_reason(reply_format, prompt))):
        return answer
    grammar = reply_grammar(
        reply_format,
        prompt,
        tokenizer,
        tools=tools,
        max_calls=turn.max_calls,
        answer=answer,
        is_free=is_free,
    )
    return _form(grammar, "tools" if answer is None else answer.path)


def _check_no_tools(answer: StructuredOutputsParams, tools: Sequence[FunctionTool]) -> None:
    if tools:
        raise InvalidRequestError(
            f"{answer.path} holds for the whole reply, which leaves no place for calls; leave out tools "
            'or set tool_choice to "none"',
            answer.path,
        )


def _form(grammar: str, field: str) -> StructuredOutputsParams:
    if len(grammar) > MAX_GRAMMAR_CHARS:
        raise InvalidRequestError(
            f"{field}: the reply's grammar, which the schemas are part of, has {len(grammar):,} characters "
            f"and may have at most {MAX_GRAMMAR_CHARS:,}; make the schemas smaller, or fewer",
            field,
        )
    return StructuredOutputsParams(grammar=grammar, field=field)
