"""Reasoning: where it starts, where it ends, and that it is given out at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.text.reply.hermes import HermesParser
from gradus.text.reply.parser import PlainParser
from gradus.text.reply.parts import ContentText, ReasoningText
from gradus.text.reply.think import ThinkParser
from tests.text.reply.parsing import NAMES, calls, cut, message_of, parts_of, read


def closed():
    return ThinkParser(PlainParser())


def opened():
    return ThinkParser(PlainParser(), is_open=True)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("<think>\nhm\n</think>\n\nYes", "hm", "Yes"),
        ("<think>a\n\nb</think>c", "a\n\nb", "c"),
        ("\n<think>a</think> b", "a", " b"),
        ("<think>\n\n</think>\n\nYes", "", "Yes"),
        ("<think>a <b> </i> </thin k> c", "a <b> </i> </thin k> c", ""),
        ("<think>cut </thi", "cut </thi", ""),
        ("<think>a</think>b<think>c</think>d", "a", "b<think>c</think>d"),
        ("<think>a</think>", "a", ""),
        ("Yes <think>a</think>", "", "Yes <think>a</think>"),
        ("<thi", "", "<thi"),
        (" \n", "", " \n"),
        ("", "", ""),
    ],
)
def test_reasoning_is_at_the_start(text, reasoning, content):
    message = read(closed, text)
    assert (message.reasoning, message.content) == (reasoning, content)


@pytest.mark.parametrize(
    ("text", "reasoning", "content"),
    [
        ("hm\n</think>\n\nYes", "hm", "Yes"),
        ("\nhm", "hm", ""),
        ("</think>Yes", "", "Yes"),
        ("<think>hm</think>Yes", "<think>hm", "Yes"),
    ],
)
def test_reasoning_that_the_prompt_has_opened(text, reasoning, content):
    message = read(opened, text)
    assert (message.reasoning, message.content) == (reasoning, content)


@given(
    st.text(alphabet="ab <>/\n").map(lambda s: s.strip("\n")),
    st.text(alphabet="xy <>/").map(str.strip),
    st.data(),
)
def test_what_was_thought_and_said_comes_back(reasoning, content, data):
    deltas = data.draw(cut(f"<think>\n{reasoning}\n</think>\n\n{content}"))
    message = message_of(closed(), deltas)
    assert (message.reasoning, message.content) == (reasoning, content)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "\n", "a", "<", "</", "think>", " "]), max_size=10).map(
        "".join
    )
)
@pytest.mark.parametrize("make", [closed, opened])
def test_parts_do_not_depend_on_how_the_text_is_cut(make, text):
    assert parts_of(make(), text) == parts_of(make(), [text])


def test_each_character_comes_out_at_once():
    parser = closed()
    parser.feed("<think>\n")
    for char in "so, a < b":
        assert [type(part) for part in parser.feed(char)] in ([ReasoningText], [])
    assert parser.feed("c") == [ReasoningText("c")]
    parser.feed("</think>\n\n")
    for char in "yes":
        assert parser.feed(char) == [ContentText(char)]


def test_calls_come_after_the_reasoning_and_not_within():
    call = '<tool_call>{"name": "x", "arguments": {}}</tool_call>'
    message = read(lambda: ThinkParser(HermesParser(NAMES)), f"<think>\n{call}?\n</think>\n\n{call}")
    assert message.reasoning == f"{call}?"
    assert message.tool_calls == calls(("x", "{}"))
    assert message.content == ""
