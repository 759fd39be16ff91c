"""The grammar of replies, against llguidance: what it lets through is what the parsers and schemas read."""

import json

import jsonschema
import llguidance
import numpy as np
import pytest

from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.reply.call_grammar import arguments_schema
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.reply_grammar import reply_grammar
from gradus.text.reply.tools import FunctionTool
from tests.server.chat_templates import HERMES, tokenizer_for
from tests.text.reply.parsing import message_of

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"$ref": "#/$defs/days"}},
    "required": ["city", "days"],
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
}
WEATHER = FunctionTool(name="weather", parameters=CITY)
CLOCK = FunctionTool(name="clock")
FORMATS = {
    "hermes": ReplyFormat("hermes"),
    "llama3_json": ReplyFormat("llama3_json"),
    "mistral": ReplyFormat("mistral"),
    "mistral-args": ReplyFormat("mistral", args_mark=True),
    "hermes-think": ReplyFormat("hermes", "think"),
}
WRITTEN = {
    "hermes": '<tool_call>\n{"name": "weather", "arguments": {"city": "Bern", "days": 3}}\n</tool_call>',
    "llama3_json": '{"name": "weather", "parameters": {"city": "Bern", "days": 3}}',
    "mistral": '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Bern", "days": 3}}]',
    "mistral-args": '[TOOL_CALLS]weather[ARGS]{"city": "Bern", "days": 3}',
}
WRITTEN["hermes-think"] = "<think>\nSo < what?\n</think>\n\n" + WRITTEN["hermes"]


class Walker:
    """llguidance over a toy tokenizer, whose special tokens it knows as such."""

    def __init__(self, *special):
        self.tokenizer = tokenizer_for(HERMES, *special)
        self.tokens = [self.tokenizer.token_bytes(i) for i in range(self.tokenizer.vocab_size)]
        self.special_token_ids = sorted(self.tokenizer.special_ids)
        self.eos_token_id = self.tokenizer.eos_token_id
        self.bos_token_id = None
        self._library = llguidance.LLTokenizer(llguidance.TokenizerWrapper(self))

    def __call__(self, text):
        return self.tokenizer.encode(text.decode() if isinstance(text, bytes) else text)

    def matcher(self, grammar):
        matcher = llguidance.LLMatcher(self._library, llguidance.LLMatcher.grammar_from_lark(grammar))
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    def allowed(self, matcher):
        bits = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little"))

    def accepts(self, grammar, text):
        matcher = self.matcher(grammar)
        for token_id in self(text):
            if not matcher.consume_token(token_id):
                return False
        return matcher.is_accepting()


@pytest.fixture(scope="module")
def walker():
    return Walker("[TOOL_CALLS]", "[ARGS]")


@pytest.mark.parametrize("name", FORMATS)
def test_a_valid_call_is_let_through_and_an_invalid_one_is_not(walker, name):
    grammar = reply_grammar(FORMATS[name], "", walker.tokenizer, tools=[WEATHER, CLOCK])
    written = WRITTEN[name]
    assert walker.accepts(grammar, written)
    for wrong in (
        written.replace("Bern", "Bellinzona"),
        written.replace("3", "12"),
        written.replace("weather", "storm"),
        written.replace(', "days": 3', ""),
        written.replace('"days": 3', '"days": 3, "x": 1'),
        written[:-1],
        "Hello",
        "",
    ):
        assert not walker.accepts(grammar, wrong), wrong


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_is_let_through_is_read_as_valid_calls(walker, name):
    """Random walks through the grammar; where it may end, it does."""
    random = np.random.default_rng(7)
    grammar = reply_grammar(FORMATS[name], "", walker.tokenizer, tools=[WEATHER, CLOCK])
    called = set()
    for _ in range(8):
        matcher = walker.matcher(grammar)
        ids = walker("<think>hm</think>" if name == "hermes-think" else "")
        assert matcher.consume_tokens(ids)
        while not matcher.is_accepting():
            ids.append(int(random.choice(walker.allowed(matcher))))
            assert matcher.consume_token(ids[-1])
            assert len(ids) < 600
        text = walker.tokenizer.decode(ids, skip_special_tokens=False)
        message = message_of(FORMATS[name].parser("", ["weather", "clock"]), text)
        assert message.content == ""
        assert message.tool_calls
        for call in message.tool_calls:
            schema = CITY if call.name == "weather" else {"maxProperties": 0}
            jsonschema.validate(json.loads(call.arguments), schema)
            called.add(call.name)
    assert called == {"weather", "clock"}


@pytest.mark.parametrize("name", FORMATS)
def test_several_calls_or_one(walker, name):
    array = name == "mistral"
    first, between = WRITTEN[name], {"hermes": "\n", "hermes-think": "\n", "llama3_json": "; "}.get(name, "")
    second = WRITTEN["hermes"] if name == "hermes-think" else first
    two = first[:-1] + ", " + first.removeprefix("[TOOL_CALLS][") if array else first + between + second
    many = reply_grammar(FORMATS[name], "", walker.tokenizer, tools=[WEATHER])
    one = reply_grammar(FORMATS[name], "", walker.tokenizer, tools=[WEATHER], max_calls=1)
    assert walker.accepts(many, two)
    assert walker.accepts(one, first)
    assert not walker.accepts(one, two)


@pytest.mark.parametrize("closing_is_special", [False, True])
def test_reasoning_is_where_the_prompt_lets_it_be(closing_is_special):
    walker = Walker(*["</think>"] * closing_is_special)
    call, thought = WRITTEN["hermes"], "hm\n</think>\n\n"

    def accepts(prompt, text):
        grammar = reply_grammar(FORMATS["hermes-think"], prompt, walker.tokenizer, tools=[WEATHER])
        return walker.accepts(grammar, text)

    assert accepts("user: x", call)
    assert accepts("user: x", "<think>" + thought + call)
    assert not accepts("user: x", thought + call)
    assert accepts("<think>\n", thought + call)
    assert not accepts("<think>\n", call)
    assert accepts("<think>\n\n</think>\n\n", call)
    assert not accepts("<think>\n\n</think>\n\n", "<think>" + thought + call)


@pytest.mark.parametrize(
    ("parameters", "closed"),
    [
        ({}, True),
        ({"type": "object", "properties": {"a": {}}}, True),
        ({"additionalProperties": {"type": "integer"}}, False),
        ({"anyOf": [{"properties": {"a": {}}}]}, False),
        ({"$ref": "#/$defs/x", "$defs": {"x": {}}}, False),
    ],
)
def test_nothing_is_invented_beside_the_declared_properties(parameters, closed):
    schema = arguments_schema(FunctionTool(name="f", parameters=parameters))
    assert schema["type"] == "object"
    assert (schema.get("additionalProperties") is False) == closed


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("marks", [(), ("[TOOL_CALLS]", "[ARGS]", "<tool_call>", "</tool_call>", "</think>")])
def test_a_free_reply_says_anything_but_invalid_calls(name, marks):
    walker = Walker(*marks)
    grammar = reply_grammar(FORMATS[name], "", walker.tokenizer, tools=[WEATHER], is_free=True)
    written = WRITTEN[name]
    replies = ["", "Hello, it is < 5 [TOOL] degrees.\n\n", written]
    if name != "llama3_json":
        replies.append("I look.\n" + WRITTEN[name.removesuffix("-think")])
    for reply in replies:
        assert walker.accepts(grammar, reply), reply
    for wrong in (written.replace("3", "12"), written.replace("weather", "storm"), written[:-1]):
        assert not walker.accepts(grammar, wrong), wrong


@pytest.mark.parametrize("marks", [(), ("</think>",), ("<think>", "</think>")])
@pytest.mark.parametrize("prompt", ["", "<think>\n"])
def test_a_free_reply_may_end_in_its_reasoning_but_not_in_a_call(marks, prompt):
    walker = Walker(*marks)
    grammar = reply_grammar(FORMATS["hermes-think"], prompt, walker.tokenizer, tools=[WEATHER], is_free=True)
    opening = "" if prompt else "<think>"
    assert walker.accepts(grammar, opening + "hm\n< 5")
    thought, call = opening + "hm</think>\n\n", WRITTEN["hermes"]
    assert walker.accepts(grammar, thought + call)
    assert not walker.accepts(grammar, thought + call[:-20])
    assert not walker.accepts(grammar, thought + call.replace("3", "12"))


FORMS = [
    (StructuredOutputsParams(json=CITY), '{"city":"Bern","days": 3}', '{"city": "Bern", "days": 10}'),
    (StructuredOutputsParams(json=True), "[1]", "[1"),
    (StructuredOutputsParams(json_object=True), '{"x": [1]}', "[1]"),
    (StructuredOutputsParams(regex=r"a/b\/[0-9]+\n?"), "a/b/12", "a/b/"),
    (StructuredOutputsParams(choice=["yes", 'no "way"']), 'no "way"', "maybe"),
]


@pytest.mark.parametrize(("form", "right", "wrong"), FORMS)
def test_an_answers_form_begins_after_the_reasoning_and_leaves_calls_possible(walker, form, right, wrong):
    thinking = FORMATS["hermes-think"]
    alone = reply_grammar(thinking, "<think>\n", walker.tokenizer, answer=form)
    assert walker.accepts(alone, "hm, 12\n</think>\n\n" + right)
    assert not walker.accepts(alone, "hm, 12\n</think>\n\n" + wrong)
    assert not walker.accepts(alone, right)
    either = reply_grammar(thinking, "user: x", walker.tokenizer, answer=form, tools=[WEATHER])
    for reply in (right, "<think>a</think>" + right, WRITTEN["hermes"], WRITTEN["hermes-think"]):
        assert walker.accepts(either, reply)
    assert not walker.accepts(either, wrong)


def test_spaces_in_an_answer_are_those_of_its_form(walker):
    for options, spaced in (({}, True), ({"disable_any_whitespace": True}, False)):
        form = StructuredOutputsParams(json=CITY, **options)
        grammar = reply_grammar(FORMATS["hermes-think"], "", walker.tokenizer, answer=form)
        assert walker.accepts(grammar, '{"city":"Bern","days":3}')
        assert walker.accepts(grammar, '{"city": "Bern","days":3}') == spaced
        assert not walker.accepts(grammar, '{"city":  "Bern","days":3}')
