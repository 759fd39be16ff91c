"""What is special about `<tool_call>…</tool_call>`."""

import pytest

from gradus.text.reply.hermes import HermesParser
from tests.text.reply.parsing import NAMES, calls, read


def make():
    return HermesParser(NAMES)


@pytest.mark.parametrize(
    ("text", "content", "found"),
    [
        ('<tool_call>{"name": "x", "arguments": {}}</tool_call>', "", [("x", "{}")]),
        ('\n\n<tool_call>{"name": "x", "arguments": {}}</tool_call>\n', "", [("x", "{}")]),
        ('<tool_call>{"arguments": {"a": 1}, "name": "x"}</tool_call>', "", [("x", '{"a": 1}')]),
        ('<tool_call>{"name": "x"}</tool_call>', "", [("x", "{}")]),
        ('<tool_call>{"name": "x", "arguments": "{\\"a\\": 1}"}</tool_call>', "", [("x", '{"a": 1}')]),
        (
            '<tool_call>{"name": "x", "arguments": {"a": "</tool_call>"}}</tool_call>',
            "",
            [("x", '{"a": "</tool_call>"}')],
        ),
        ('<tool_call>{"name": "x", "arguments": {}}', "", [("x", "{}")]),
        ('<tool_call>{"name": "x", "arguments": {}}</tool_ca', "", [("x", "{}")]),
        (
            '<tool_call>{"name": "x", "arguments": {}} <tool_call>{"name": "x"}</tool_call>',
            "",
            [("x", "{}")] * 2,
        ),
        ('<tool_call>{"name": "x", "arguments": {}}</tool_call>\nDone.', "\nDone.", [("x", "{}")]),
        ('a\n<tool_call>{"name": "x"}</tool_call>b', "a\nb", [("x", "{}")]),
        ('<tool_call>\n<tool_call>{"name": "x"}</tool_call>', "<tool_call>\n", [("x", "{}")]),
        (
            '<tool_call>{"name": "x", "arguments": {"a": oops}}</tool_call>',
            "oops}}</tool_call>",
            [("x", '{"a": ')],
        ),
    ],
)
def test_calls_and_what_is_around_them(text, content, found):
    message = read(make, text)
    assert message.tool_calls == calls(*found)
    assert message.content == content


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "<tool_call>",
        "<tool_call></tool_call>",
        "<tool_call>weather(city)</tool_call>",
        '<tool_call>{"name": "x", "arguments": 5}</tool_call>',
        '<tool_call>{"name": "x", "arguments": "five"}</tool_call>',
        '<tool_call>{"name": "x", "arguments": null}</tool_call>',
        '<tool_call>{"name": 5, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "x", "name": "x"}</tool_call>',
        '<tool_call>{"name": "x", "color": "red"}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        '<tool_call>{"name": "x',
        '<tool_call>[{"name": "x", "arguments": {}}]</tool_call>',
        "a <tool_calls> <tool_call",
        "</tool_call>",
    ],
)
def test_what_is_no_call_is_content(text):
    message = read(make, text)
    assert message.tool_calls == []
    assert message.content == text
