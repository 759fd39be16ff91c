"""The form that a whole reply must have: of a required tool call, of an answer after reasoning, or neither.

Knows turns and reply formats; the grammars are the text layer's.
"""

from typing import TYPE_CHECKING

from gradus.errors import InvalidRequestError
from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.reply_grammar import COMPOSABLE, may_reason, reply_grammar
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
    if turn.may_call and choice.mode == "required":
        if answer is not None:
            raise InvalidRequestError(
                f"{answer.field} says what the answer must be, but tool_choice requires a call in its place; "
                "leave one of them out",
                answer.field,
            )
        tools = [tool for tool in turn.tools if choice.name in (None, tool.name)]
        grammar = reply_grammar(reply_format, prompt, tokenizer, tools=tools, max_calls=turn.max_calls)
        return StructuredOutputsParams(grammar=grammar, field="tools")
    if answer is None and turn.may_call and any(tool.strict for tool in turn.tools):
        grammar = reply_grammar(
            reply_format, prompt, tokenizer, tools=turn.tools, max_calls=turn.max_calls, is_free=True
        )
        return StructuredOutputsParams(grammar=grammar, field="tools")
    if answer is None or not (turn.may_call or may_reason(reply_format, prompt)):
        return answer
    if answer.kind not in COMPOSABLE:
        if turn.may_call:
            raise InvalidRequestError(
                f"{answer.path} holds for the whole reply, which leaves no place for calls; leave out tools "
                'or set tool_choice to "none"',
                answer.path,
            )
        return answer
    tools = list(turn.tools) if turn.may_call else []
    grammar = reply_grammar(
        reply_format, prompt, tokenizer, tools=tools, max_calls=turn.max_calls, answer=answer
    )
    return StructuredOutputsParams(grammar=grammar, field=answer.path)
