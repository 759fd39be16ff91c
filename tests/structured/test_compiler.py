"""The compiler: what it refuses and how, how long it may take, and what it keeps."""

import re
import threading
import time

import numpy as np
import pytest

from gradus.errors import ConstraintError, InvalidRequestError
from gradus.structured.compiler import LlguidanceCompiler
from gradus.structured_outputs import StructuredOutputsParams
from tests.text.toy_tokenizers import (
    SPECIAL,
    byte_level_json,
    sentencepiece_json,
    toy_tokenizer,
    word_piece_json,
)

VOCAB_SIZE = 448  # of a model with more rows than the tokenizer has tokens; a multiple of 32


def make_compiler(text=None, *, end_token_ids=(2,), **options):
    tokenizer = toy_tokenizer(text or byte_level_json())
    return LlguidanceCompiler(tokenizer, vocab_size=VOCAB_SIZE, end_token_ids=end_token_ids, **options)


WITH_BOTH_TOKENIZERS = pytest.mark.parametrize(
    "text", [byte_level_json(), sentencepiece_json()], ids=["byte-level", "sentencepiece"]
)


@pytest.fixture(scope="module")
def compiler():
    return make_compiler()


MANY = {f"p{i}": {"type": "null"} for i in range(400)}


def allowed(grammar, constraint) -> set[int]:
    """The ids of the mask."""
    masks = np.full((2, VOCAB_SIZE // 32), 0xFFFFFFFF, np.uint32)
    grammar.fill_masks([(constraint, 1)], masks)
    assert (masks[0] == 0xFFFFFFFF).all()
    return set(np.flatnonzero(np.unpackbits(masks[1].view(np.uint8), bitorder="little")).tolist())


@pytest.mark.parametrize(
    "text", [byte_level_json(), sentencepiece_json()], ids=["byte-level", "sentencepiece"]
)
def test_masks_hold_the_tokens_whose_texts_fit(text):
    compiler = make_compiler(text)
    tokenizer = compiler._tokenizer
    grammar = compiler.compile(StructuredOutputsParams(regex="(é|[A-Za-z ,])*"))
    constraint = grammar.new_constraint(None)
    for _ in range(2):
        pieces = {i: tokenizer.token_bytes(i) for i in range(VOCAB_SIZE) if i not in tokenizer.special_ids}
        whole = {
            i for i, piece in pieces.items() if re.fullmatch("[A-Za-z ,é]+", piece.decode("utf-8", "replace"))
        }
        starts = {i for i, piece in pieces.items() if re.fullmatch(rb"[A-Za-z ,]*\xc3", piece)}
        assert allowed(grammar, constraint) == whole | starts | {2}
        constraint.accept(next(i for i in whole if len(pieces[i]) > 1))


@WITH_BOTH_TOKENIZERS
def test_a_text_that_is_given_is_written_as_the_tokenizer_writes_it(text):
    compiler = make_compiler(text)
    tokenizer, given = compiler._tokenizer, "Hello, wörld 北! <|im_end|></s>"
    grammar = compiler.compile(StructuredOutputsParams(choice=[given]))
    constraint, tokens = grammar.new_constraint(None), []
    while not constraint.is_finished:
        (token_id,) = allowed(grammar, constraint)
        constraint.accept(token_id)
        tokens.append(token_id)
    assert b"".join(map(tokenizer.token_bytes, tokens)).decode() == given
    assert tokenizer.special_ids.isdisjoint(tokens)
    assert allowed(grammar, constraint) == {2}


def test_choices_have_states_of_their_own(compiler):
    grammar = compiler.compile(StructuredOutputsParams(regex="[ab]c"))
    first, second = grammar.new_constraint(None), grammar.new_constraint(None)
    before = allowed(grammar, second)
    first.accept(compiler._tokenizer.token_id("a"))
    assert allowed(grammar, second) == before != allowed(grammar, first)
    with pytest.raises(ConstraintError, match="cannot go on"):
        second.accept(compiler._tokenizer.token_id("c"))


@pytest.mark.parametrize("end_token_ids", [(), (1, 2)])
def test_models_have_any_number_of_ends(end_token_ids):
    compiler = make_compiler(end_token_ids=end_token_ids)
    grammar = compiler.compile(StructuredOutputsParams(regex="a?"))
    constraint = grammar.new_constraint(100)
    assert grammar.end_token_ids == end_token_ids
    token = compiler._tokenizer.token_id("a")
    assert allowed(grammar, constraint) == {token, *end_token_ids}
    constraint.accept(token)
    assert constraint.is_finished
    assert allowed(grammar, constraint) == set(end_token_ids)


def test_special_tokens_are_reached_by_their_names_alone(compiler):
    free = compiler.compile(StructuredOutputsParams(regex="(.|\n)*"))
    ids = set(map(compiler._tokenizer.token_id, SPECIAL))
    assert allowed(free, free.new_constraint(None)) & ids == {2}  # the end
    named = compiler.compile(StructuredOutputsParams(grammar='start: <|im_start|> "a"'))
    assert allowed(named, named.new_constraint(None)) == {compiler._tokenizer.token_id("<|im_start|>")}


def test_a_tokenizer_whose_tokens_depend_on_their_neighbours_is_refused():
    with pytest.raises(InvalidRequestError, match="does not decode token by token"):
        make_compiler(word_piece_json()).compile(StructuredOutputsParams(regex="a"))


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"json": {"not": {}}}, 'Unimplemented keys: ["not"]'),
        ({"json": {"type": "array", "uniqueItems": True}}, "uniqueItems"),
        ({"json": {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}}, "uniqueItems"),
        ({"json": {"type": "strin"}}, "Invalid type: strin"),
        ({"json": {"type": "string", "format": "regexp"}}, "Unknown format: regexp"),
        ({"json": {"type": "string", "minLength": 3, "maxLength": 2}}, "minLength (3) is greater"),
        ({"json": {"$ref": "#/$defs/none"}}, "none"),
        ({"json": {"$ref": "http://127.0.0.1:9/schema.json"}}, "does not fetch"),
        ({"json": {"$ref": "file:///etc/hostname"}}, "does not fetch"),
        ({"json": {"$ref": "#"}}, "no text is of this form"),
        ({"json": False}, "no text is of this form"),
        ({"json": {"oneOf": [{"type": "integer"}, {"type": "number"}]}}, "anyOf"),
        ({"json": {"type": "string", "pattern": "(?=a)b"}}, "look-around"),
        ({"json": {"type": "string"}, "whitespace_pattern": "("}, "unclosed group"),
        ({"regex": "(a"}, "unclosed group"),
        ({"regex": "(?=a)b"}, "look-around"),
        ({"regex": r"(a)\1"}, "backreferences"),
        ({"regex": "(a{1000}){1000}"}, "too many expressions"),
        ({"json": {"type": "object", "properties": MANY, "additionalProperties": False}}, "max is 1000"),
        ({"grammar": "start: other"}, 'unknown name: "other"'),
        ({"grammar": 'other: "a"'}, "start"),
        ({"grammar": "start: start"}, "no text is of this form"),
        ({"grammar": 'root ::= "a"'}, "Lark"),
    ],
)
def test_what_cannot_be_compiled_is_refused_by_name(compiler, form, words):
    params = StructuredOutputsParams(**form)
    for _ in range(2):  # compiled, and found in the cache
        with pytest.raises(InvalidRequestError) as caught:
            compiler.compile(params)
        assert words in str(caught.value)
        assert str(caught.value).startswith(params.path)
        assert caught.value.param == params.path
        assert len(str(caught.value)) < 500
        assert "\n" not in str(caught.value)


BOOL = {"type": "boolean"}
HOSTILE = {
    "repetition of repetitions": {"regex": "((a{1,100}){1,100}){1,100}"},
    "nested quantifiers": {"regex": "((a+)+)+b"},
    "a large automaton": {"regex": "[ab]*a[ab]{60}"},
    "many wildcards": {"regex": "(.*a){50}"},
    "a long string": {"json": {"type": "string", "minLength": 10**9}},
    "a long array": {"json": {"type": "array", "items": BOOL, "minItems": 10**9}},
    "references that double": {
        "json": {
            "$defs": {f"a{i}": {"anyOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(40)}
            | {"a40": BOOL},
            "$ref": "#/$defs/a0",
        }
    },
    "alternatives that multiply": {
        "json": {"allOf": [{"anyOf": [{"properties": {f"{p}{i}": BOOL}} for p in "pq"]} for i in range(24)]}
    },
    "many properties": {"json": {"properties": {f"p{i}": {"type": "string"} for i in range(1000)}}},
    "ambiguity": {"grammar": 'start: e\ne: e e e | e e | "a" | '},
    "a deep schema": {"json": eval('{"items":' * 60 + "{}" + "}" * 60)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_forms_are_refused_or_cost_little(compiler, name):
    """Nothing hangs or raises anything else, neither to compile nor in the first steps."""
    try:
        grammar = compiler.compile(StructuredOutputsParams(**HOSTILE[name]))
    except InvalidRequestError:
        return
    constraint = grammar.new_constraint(1000)
    try:
        for _ in range(50):
            constraint.accept(min(allowed(grammar, constraint)))
    except ConstraintError:
        pass


def test_a_form_is_compiled_once_for_all_who_ask_at_a_time(monkeypatch):
    compiler = make_compiler()
    compiled, started = [], threading.Event()
    compile_it = LlguidanceCompiler._compile

    def slowly(self, params, vocabulary):
        compiled.append(params)
        started.wait(10)
        return compile_it(self, params, vocabulary)

    monkeypatch.setattr(LlguidanceCompiler, "_compile", slowly)
    found = []
    params = StructuredOutputsParams(regex="abc")
    threads = [threading.Thread(target=lambda: found.append(compiler.compile(params))) for _ in range(5)]
    for thread in threads:
        thread.start()
    while not compiled:
        time.sleep(0.001)
    started.set()
    for thread in threads:
        thread.join()
    assert len(compiled) == 1
    assert len(found) == 5
    assert len(set(map(id, found))) == 1


def test_a_form_that_takes_too_long_is_refused_and_stops_no_other(monkeypatch):
    compiler = make_compiler(time_limit=0.2)
    compiler.compile(StructuredOutputsParams(regex="first"))
    release, compile_it = threading.Event(), LlguidanceCompiler._compile

    def hang(self, params, vocabulary):
        if params.regex == "slow":
            release.wait(30)
        return compile_it(self, params, vocabulary)

    monkeypatch.setattr(LlguidanceCompiler, "_compile", hang)
    with pytest.raises(InvalidRequestError, match=r"not compiled within 0\.2 seconds"):
        compiler.compile(StructuredOutputsParams(regex="slow"))
    compiler.compile(StructuredOutputsParams(regex="second"))
    release.set()


def test_the_cache_is_bounded(monkeypatch):
    compiler = make_compiler(max_cached=3)
    compiled, compile_it = [], LlguidanceCompiler._compile

    def count(self, params, vocabulary):
        compiled.append(params.regex)
        return compile_it(self, params, vocabulary)

    monkeypatch.setattr(LlguidanceCompiler, "_compile", count)
    for regex in "abcabcda":
        compiler.compile(StructuredOutputsParams(regex=regex))
    assert compiled == ["a", "b", "c", "d", "a"]
