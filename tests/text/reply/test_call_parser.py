"""Laws that hold for the parsers of every format, whatever the model writes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.text.reply.hermes import HermesParser
from gradus.text.reply.llama3_json import Llama3JsonParser
from gradus.text.reply.mistral import MistralParser
from gradus.text.reply.parts import CallArguments, CallBegin, ContentText
from tests.text.reply.parsing import NAMES, cut, message_of, parts_of

ARGUMENTS = st.dictionaries(
    st.text(max_size=6),
    st.text(max_size=12) | st.integers() | st.none() | st.lists(st.booleans(), max_size=3),
    max_size=3,
)
CALLS = st.lists(st.tuples(st.sampled_from(sorted(NAMES)), ARGUMENTS), min_size=1, max_size=3)


def write_hermes(calls):
    return "\n".join(
        f'<tool_call>\n{{"name": "{n}", "arguments": {json.dumps(a)}}}\n</tool_call>' for n, a in calls
    )


def write_llama(calls):
    return "; ".join(f'{{"name": "{n}", "parameters": {json.dumps(a)}}}' for n, a in calls)


def write_llama_with_tag(calls):
    return "<|python_tag|>" + write_llama(calls)


def write_mistral_array(calls):
    return "[TOOL_CALLS] " + json.dumps([{"name": n, "arguments": a, "id": "abcdefghi"} for n, a in calls])


def write_mistral(calls):
    return "".join(f"[TOOL_CALLS]{n}{json.dumps(a)}" for n, a in calls)


def write_mistral_with_marks(calls):
    return "".join(f"[TOOL_CALLS]{n}[CALL_ID]a1b2c3d4e[ARGS]{json.dumps(a)}" for n, a in calls)


FORMATS = [
    pytest.param(HermesParser, write_hermes, "Let me see. ", id="hermes"),
    pytest.param(Llama3JsonParser, write_llama, "", id="llama3_json"),
    pytest.param(Llama3JsonParser, write_llama_with_tag, "So: ", id="llama3_json-tag"),
    pytest.param(MistralParser, write_mistral_array, "Well, ", id="mistral-array"),
    pytest.param(MistralParser, write_mistral, "Well, ", id="mistral"),
    pytest.param(MistralParser, write_mistral_with_marks, "", id="mistral-marks"),
]
PARSERS = [HermesParser, Llama3JsonParser, MistralParser]
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(
                "<tool_call>",
                "</tool_call>",
                "[TOOL_CALLS]",
                "[ARGS]",
                "[CALL_ID]",
                "<|python_tag|>",
                ";",
                "[",
            ),
            *(
                '{"name": "x"',
                '{"name": "nobody"',
                ', "arguments": ',
                '"parameters": {}',
                "{}",
                "}",
                "]",
                ",",
            ),
            *(
                "x",
                "weather",
                '{"a": 1}',
                '{"a": [1, "',
                "\\",
                '"',
                " ",
                "\n",
                "Hello",
                "<",
                "<tool",
                "[TOOL",
                "é",
            ),
        ]
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize(("parser", "write", "content"), FORMATS)
@given(calls=CALLS, data=st.data())
def test_calls_are_read_back_as_they_were_written(parser, write, content, calls, data):
    deltas = data.draw(cut(content + write(calls)))
    message = message_of(parser(NAMES), deltas)
    assert message.content == content
    assert [call.name for call in message.tool_calls] == [name for name, _ in calls]
    # Character for character: a client must get what the model wrote, not what JSON makes of it.
    assert [call.arguments for call in message.tool_calls] == [
        json.dumps(arguments) for _, arguments in calls
    ]


@pytest.mark.parametrize("parser", PARSERS)
@given(text=FRAGMENTS, data=st.data())
def test_parts_do_not_depend_on_how_the_text_is_cut(parser, text, data):
    whole = parts_of(parser(NAMES), [text])
    assert parts_of(parser(NAMES), text) == whole
    assert parts_of(parser(NAMES), data.draw(cut(text))) == whole


@pytest.mark.parametrize("parser", PARSERS)
@given(text=FRAGMENTS)
def test_calls_are_numbered_and_named_and_nothing_is_made_up(parser, text):
    position, index = 0, -1
    for part in parts_of(parser(NAMES), text):
        match part:
            case CallBegin(number, name):
                index += 1
                assert number == index
                assert name in NAMES
                assert name in text
            case CallArguments(number, arguments):
                assert number == index
                assert arguments.startswith("{")
                assert arguments == "{}" or arguments in text
            case ContentText(content):
                position = text.index(content, position) + len(content)


@pytest.mark.parametrize("parser", PARSERS)
@given(text=FRAGMENTS)
def test_a_reply_without_a_call_is_content_to_the_last_character(parser, text):
    message = message_of(parser(NAMES), text)
    if not message.tool_calls:
        assert message.content == text


@pytest.mark.parametrize(("parser", "write", "content"), FORMATS)
@given(calls=CALLS, data=st.data())
def test_a_reply_that_is_cut_off_keeps_what_there_was(parser, write, content, calls, data):
    text = content + write(calls)
    message = message_of(parser(NAMES), text[: data.draw(st.integers(0, len(text)))])
    assert message.content.startswith(content[: len(message.content)])
    written = [json.dumps(arguments) for _, arguments in calls]
    for call, arguments in zip(message.tool_calls, written, strict=False):
        assert arguments.startswith(call.arguments)
    for call, arguments in list(zip(message.tool_calls, written, strict=False))[:-1]:
        assert call.arguments == arguments


@pytest.mark.parametrize(("parser", "write", "content"), FORMATS)
def test_a_function_that_was_not_offered_is_not_called(parser, write, content):
    text = content + write([("rm", {"path": "/"})])
    message = message_of(parser(NAMES), text)
    assert message.tool_calls == []
    assert message.content == text


@pytest.mark.parametrize(("parser", "write", "content"), FORMATS)
def test_no_more_calls_than_wanted(parser, write, content):
    calls = [("x", {"a": 1}), ("weather", {"b": 2}), ("get_time", {})]
    message = message_of(parser(NAMES, max_calls=1), content + write(calls))
    assert [(call.name, call.arguments) for call in message.tool_calls] == [("x", '{"a": 1}')]
    assert message.content == content


@pytest.mark.parametrize(("parser", "write", "content"), FORMATS)
def test_nothing_is_held_back_that_is_certain(parser, write, content):
    """Content at once; a call as soon as its arguments start; every character of the arguments at once."""
    reader = parser(NAMES)
    for char in content.strip():
        assert reader.feed(char) == [ContentText(char)]
    text = content[len(content.strip()) :] + write([("weather", {"city": "Zürich", "days": [1, 2]})])
    start = text.index('{"city"')
    stop = text.index("]}", start) + 2
    for char in text[:start]:
        reader.feed(char)
    assert reader.feed("{") == [CallBegin(0, "weather"), CallArguments(0, "{")]
    for char in text[start + 1 : stop]:
        assert reader.feed(char) == [CallArguments(0, char)]


@pytest.mark.parametrize("parser", PARSERS)
def test_long_hopeless_texts_are_read_in_linear_time(parser):
    """Each character is looked at a bounded number of times: an attempt that fails is not gone over again."""
    reader = parser(NAMES)
    text = '<tool_call>{"[TOOL_CALLS]x{"<|python_tag|>{"name": "' * 2000
    message = message_of(reader, [text[i : i + 7] for i in range(0, len(text), 7)])
    assert len(message.content) + sum(len(call.arguments) for call in message.tool_calls) <= len(text)
