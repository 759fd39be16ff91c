"""A grammar of whole replies: reasoning, then tool calls, or an answer of a form that the request states.

Written in llguidance's dialect of Lark, as the rules for calls are. Knows nothing of compilers or engines.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.reply import think
from gradus.text.reply.call_grammar import ANYTHING, Mark, call_rules, free_rules, is_token, literal
from gradus.text.reply.reply_format import ReplyFormat, is_thinking
from gradus.text.reply.tools import FunctionTool
from gradus.text.tokenizer import Tokenizer

COMPOSABLE = ("json", "json_object", "regex", "choice")  # kinds of forms that can be part of a grammar

_USUAL_SPACE = {"item_separator": ", ?", "key_separator": ": ?"}  # regular expressions


def reply_grammar(
    reply_format: ReplyFormat,
    prompt: str,
    tokenizer: Tokenizer,
    *,
    tools: Sequence[FunctionTool] = (),
    max_calls: int | None = None,
    answer: StructuredOutputsParams | None = None,
    is_free: bool = False,
) -> str:
    """Replies to `prompt` that call one or more of `tools`, or are an answer of the form `answer`.

    With `is_free` the answer is any text, which calls may end. Such a reply may end anywhere but in a call.

    Reasoning comes first where the prompt has opened it, and may where the prompt has not closed it.
    """

    def mark(text: str) -> str:
        token_id = tokenizer.token_id(text)
        return f"<[{token_id}]>" if token_id in tokenizer.special_ids else literal(text)

    ways: list[str] = []
    rules: list[str] = []
    if tools:
        ways.append("free" if is_free else "calls")
        rules += call_rules(reply_format, tools, max_calls, mark)
    if is_free:
        rules += free_rules(reply_format, mark)
    if answer is not None:
        ways.append("answer")
        rules += _answer(answer)
    reasoning = _reasoning(reply_format, prompt, mark, is_free)
    start = f"start: {'reasoning ' if reasoning else ''}({' | '.join(ways)})"
    if reasoning and is_free:
        start += " | unfinished"
        rules += _unfinished(prompt, mark)
    return "\n".join([start, *rules, *reasoning]) + "\n"


def _reasoning(reply_format: ReplyFormat, prompt: str, mark: Mark, is_free: bool) -> list[str]:
    """The rule `reasoning` and those that it needs; none where there cannot be any."""
    if not reply_format.may_reason(prompt):
        return []
    closing = mark(think.CLOSING)
    if is_free and not is_thinking(prompt) and not is_token(mark(think.OPENING)):
        # Free text may start with an opening mark that is text, so it must not be told apart here.
        return [f"reasoning: (THOUGHT {closing})?", f"THOUGHT: {ANYTHING}"] if is_token(closing) else []
    if is_token(closing):
        thoughts = [f"thoughts: THOUGHT {closing}", f"THOUGHT: {ANYTHING}"]
    else:
        thoughts = [f"thoughts[lazy]: /(.|\\n)*{_escaped(think.CLOSING)}/"]
    body = 'thoughts "\\n"{0,2}'
    if not is_thinking(prompt):
        body = f"({mark(think.OPENING)} {body})?"
    return [f"reasoning: {body}", *thoughts]


def _unfinished(prompt: str, mark: Mark) -> list[str]:
    """The rule `unfinished`: reasoning and nothing else, for whoever ends there."""
    closing = mark(think.CLOSING)
    thought = "THOUGHT"
    rules = []
    if not is_token(closing):
        thought = "UNCLOSED"
        rules = [f"UNCLOSED: {ANYTHING} & ~/(.|\\n)*{_escaped(think.CLOSING)}(.|\\n)*/"]
    return [f"unfinished: {'' if is_thinking(prompt) else mark(think.OPENING)} {thought}", *rules]


def _answer(form: StructuredOutputsParams) -> list[str]:
    match form.kind:
        case "json":
            return [f"answer: %json {json.dumps(_with_options(json.loads(str(form.json)), form))}"]
        case "json_object":
            return [f"answer: %json {json.dumps(_with_options({'type': 'object'}, form))}"]
        case "regex":
            return ["answer: ANSWER", f"ANSWER: /{_escaped(str(form.regex))}/"]
    return ["answer: " + " | ".join(map(literal, form.choice or ()))]


def _with_options(schema: Any, form: StructuredOutputsParams) -> Any:
    """The schema with what the form says about spaces."""
    if not isinstance(schema, dict):
        schema = {} if schema else {"not": {}}
    options: dict[str, Any] = {"whitespace_flexible": form.whitespace_pattern is not None}
    if form.whitespace_pattern is not None:
        options["whitespace_pattern"] = form.whitespace_pattern
    elif not form.disable_any_whitespace:
        options |= _USUAL_SPACE
    return {**schema, "x-guidance": options}


def _escaped(regex: str) -> str:
    """A regular expression as it can stand between slashes."""
    shown = re.sub(r"\\.|/", lambda found: found[0] if len(found[0]) > 1 else "\\/", regex, flags=re.DOTALL)
    return shown.replace("\n", "\\n")
