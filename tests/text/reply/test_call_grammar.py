"""The grammar of required calls, against llguidance: what it lets through is read as calls."""

import json

import jsonschema
import llguidance
import numpy as np
import pytest

from gradus.text.reply.call_grammar import arguments_schema, call_grammar
from gradus.text.reply.reply_format import ReplyFormat
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
    grammar = call_grammar(FORMATS[name], [WEATHER, CLOCK], "", walker.tokenizer)
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
    grammar = call_grammar(FORMATS[name], [WEATHER, CLOCK], "", walker.tokenizer)
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
    many = call_grammar(FORMATS[name], [WEATHER], "", walker.tokenizer)
    one = call_grammar(FORMATS[name], [WEATHER], "", walker.tokenizer, max_calls=1)
    assert walker.accepts(many, two)
    assert walker.accepts(one, first)
    assert not walker.accepts(one, two)


@pytest.mark.parametrize("closing_is_special", [False, True])
def test_reasoning_is_where_the_prompt_lets_it_be(closing_is_special):
    walker = Walker(*["</think>"] * closing_is_special)
    call, thought = WRITTEN["hermes"], "hm\n</think>\n\n"

    def accepts(prompt, text):
        grammar = call_grammar(FORMATS["hermes-think"], [WEATHER], prompt, walker.tokenizer)
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
