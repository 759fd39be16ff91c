"""What is special about calls that are bare JSON objects."""

import pytest

from gradus.text.reply.llama3_json import Llama3JsonParser
from tests.text.reply.parsing import NAMES, calls, read


def make():
    return Llama3JsonParser(NAMES)


@pytest.mark.parametrize(
    ("text", "content", "found"),
    [
        ('{"name": "x", "parameters": {"a": 1}}', "", [("x", '{"a": 1}')]),
        ('{"type": "function", "name": "x", "parameters": {}}', "", [("x", "{}")]),
        ('{"name": "x", "arguments": {}}', "", [("x", "{}")]),
        ('\n{"name": "x", "parameters": {}}\n', "", [("x", "{}")]),
        (
            '{"name": "x", "parameters": {}};{"name": "weather", "parameters": {}}',
            "",
            [("x", "{}"), ("weather", "{}")],
        ),
        ('{"name": "x", "parameters": {}}\n{"name": "x", "parameters": {}}', "", [("x", "{}")] * 2),
        ('<|python_tag|>{"name": "x", "parameters": {}}', "", [("x", "{}")]),
        ('Sure. <|python_tag|>{"name": "x", "parameters": {}}', "Sure. ", [("x", "{}")]),
        ('{"name": "x", "parameters": {}}; that is it', "; that is it", [("x", "{}")]),
        ('{"name": "x", "parameters": {}} and', " and", [("x", "{}")]),
    ],
)
def test_calls_and_what_is_around_them(text, content, found):
    message = read(make, text)
    assert message.tool_calls == calls(*found)
    assert message.content == content


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "age": 5}',
        '{"answer": 42}',
        "{}",
        'So: {"name": "x", "parameters": {}}',
        '<|python_tag|>brave_search.call(query="x")',
    ],
)
def test_other_objects_and_code_are_content(text):
    message = read(make, text)
    assert message.tool_calls == []
    assert message.content == text
