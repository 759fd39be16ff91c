"""What is special about `[TOOL_CALLS]`."""

import pytest

from gradus.text.reply.mistral import MistralParser
from gradus.text.reply.parts import ContentText
from tests.text.reply.parsing import NAMES, calls, read


def make():
    return MistralParser(NAMES)


@pytest.mark.parametrize(
    ("text", "content", "found"),
    [
        ('[TOOL_CALLS][{"name": "x", "arguments": {"a": [1]}}]', "", [("x", '{"a": [1]}')]),
        ('[TOOL_CALLS] [{"arguments": {}, "name": "x", "id": "abc"}]', "", [("x", "{}")]),
        (
            '[TOOL_CALLS][{"name": "x", "arguments": {}}, {"name": "weather"}]',
            "",
            [("x", "{}"), ("weather", "{}")],
        ),
        ('[TOOL_CALLS]x{"a": 1}', "", [("x", '{"a": 1}')]),
        ('[TOOL_CALLS]x[ARGS]{"a": 1}', "", [("x", '{"a": 1}')]),
        ('[TOOL_CALLS] x [CALL_ID] q1 [ARGS] {"a": 1}', "", [("x", '{"a": 1}')]),
        (
            '[TOOL_CALLS]x{}[TOOL_CALLS]weather{"x": "[TOOL_CALLS]"}',
            "",
            [("x", "{}"), ("weather", '{"x": "[TOOL_CALLS]"}')],
        ),
        ("Hm.[TOOL_CALLS]x{}\n", "Hm.", [("x", "{}")]),
        ("[TOOL_CALLS]x{} so", " so", [("x", "{}")]),
        ('[TOOL_CALLS]x{"a": }', "}", [("x", '{"a": ')]),
        (
            '[TOOL_CALLS][{"name": "x", "arguments": {}}, {"name": "nobody"}]',
            ', {"name": "nobody"}]',
            [("x", "{}")],
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
        "[TOOL_CALLS]",
        "[TOOL_CALLS] \n",
        "[TOOL_CALLS][]",
        "[TOOL_CALLS][1]",
        "[TOOL_CALLS]x",
        "[TOOL_CALLS]x[ARGS]",
        "[TOOL_CALLS]x[ARG]{}",
        "[TOOL_CALLS]x()",
        "[TOOL_CALLS]xx{}",
        "[TOOL_CALLS]x y{}",
        "[TOOL_CALL] x{}",
    ],
)
def test_what_is_no_call_is_content(text):
    message = read(make, text)
    assert message.tool_calls == []
    assert message.content == text


def test_a_name_that_cannot_be_a_functions_is_content_at_once():
    parser = make()
    assert parser.feed("[TOOL_CALLS]we") == []
    assert parser.feed("b") == [ContentText("[TOOL_CALLS]web")]
