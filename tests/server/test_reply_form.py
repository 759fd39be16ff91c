"""Which form a whole reply gets, given its tools and its answer's own; the grammars have tests of theirs."""

import pytest

from gradus.errors import InvalidRequestError
from gradus.server.chat_turn import ChatTurn
from gradus.server.reply_form import reply_form
from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.tools import FunctionTool, ToolChoice
from tests.server.chat_templates import HERMES, tokenizer_for

USER = [{"role": "user", "content": "Hi"}]
F, G = FunctionTool(name="f"), FunctionTool(name="g")
STRICT = FunctionTool(name="s", strict=True)
CHOICE = StructuredOutputsParams(choice=["yes", "no"])
LARK = StructuredOutputsParams(grammar='start: "a"')
PLAIN, THINKING = ReplyFormat("hermes"), ReplyFormat("hermes", "think")


@pytest.fixture(scope="module")
def form_of():
    tokenizer = tokenizer_for(HERMES)

    def make(tools=(), choice=("auto",), answer=None, reply_format=PLAIN, prompt="user: x"):
        turn = ChatTurn(messages=USER, tools=tuple(tools), tool_choice=ToolChoice(*choice))
        return reply_form(turn, reply_format, prompt, answer, tokenizer)

    return make


def test_what_needs_no_grammar_gets_none(form_of):
    assert form_of() is None
    assert form_of(reply_format=THINKING) is None
    assert form_of([F, G]) is None
    assert form_of([STRICT], ("none",)) is None


def test_an_answers_own_form_stays_where_nothing_else_can_come(form_of):
    assert form_of(answer=CHOICE) is CHOICE
    assert form_of([F], ("none",), CHOICE) is CHOICE
    assert form_of(answer=CHOICE, reply_format=THINKING, prompt="<think>\n\n</think>\n\n") is CHOICE
    assert form_of(answer=LARK, reply_format=THINKING) is LARK


def test_an_answers_form_becomes_part_of_a_larger_one(form_of):
    for options in ({"reply_format": THINKING}, {"tools": [F]}):
        form = form_of(answer=CHOICE, **options)
        assert '"yes" | "no"' in form.grammar
        assert ("calls" in form.grammar) == ("tools" in options)
        assert form.path == "structured_outputs.choice"


def test_only_the_named_function_is_in_a_named_calls_grammar(form_of):
    both = form_of([F, G], ("required",)).grammar
    named = form_of([F, G], ("required", "g")).grammar
    assert '\\"f\\"' in both
    assert '\\"g\\"' in both
    assert '\\"f\\"' not in named
    assert "{0," in both
    assert "{0," not in named


def test_strictness_of_one_tool_holds_for_all(form_of):
    grammar = form_of([F, STRICT]).grammar
    assert "start: free" in grammar.replace("(", "").replace(")", "")
    assert '\\"f\\"' in grammar


def test_what_excludes_one_another_is_refused(form_of):
    with pytest.raises(InvalidRequestError, match="requires a call in its place") as caught:
        form_of([F], ("required",), CHOICE)
    assert caught.value.param == "structured_outputs"
    with pytest.raises(InvalidRequestError, match="leaves no place for calls"):
        form_of([F], answer=LARK)


def test_schemas_that_are_too_large_together_are_refused(form_of):
    tools = [FunctionTool(name=f"f{i}", parameters={"description": "x" * 50_000}) for i in range(2)]
    assert form_of(tools) is None
    with pytest.raises(InvalidRequestError, match="at most 65,536") as caught:
        form_of(tools, ("required",))
    assert caught.value.param == "tools"
