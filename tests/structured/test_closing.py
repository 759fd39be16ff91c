"""Closing: whatever was written so far, the way shown leads to a complete text, and is as long as it says."""

import json
import random

import jsonschema
import numpy as np
import pytest

from gradus.structured import closing
from gradus.structured.closing import MAX_TOKENS, Closer, Deadline
from gradus.structured.compiler import LlguidanceCompiler
from gradus.structured_outputs import StructuredOutputsParams
from tests.structured.corpus import CORPUS
from tests.text.toy_tokenizers import byte_level_json, toy_tokenizer

EOS = 2
SOME = (
    "string",
    "person-optional",
    "array-of-anyof",
    "recursive-list",
    "any-object",
    "string-min",
    "event",
    "user-profile",
)


@pytest.fixture(scope="module")
def tokenizer():
    return toy_tokenizer(byte_level_json())


def make_compiler(tokenizer):
    return LlguidanceCompiler(tokenizer, vocab_size=tokenizer.vocab_size, end_token_ids=[EOS])


def allowed(grammar, constraint, size) -> list[int]:
    masks = np.zeros((1, -(-size // 32)), np.uint32)
    grammar.fill_masks([(constraint, 0)], masks)
    return np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little")).tolist()


def run_to_the_end(compiler, tokenizer, schema, max_tokens, seed) -> tuple[str, bool]:
    """A model that does not want to end: any token but an end, as long as there is another."""
    draw, tokens = random.Random(seed), []
    grammar = compiler.compile(StructuredOutputsParams(json=schema))
    constraint = grammar.new_constraint(max_tokens)
    while len(tokens) < max_tokens:
        choices = allowed(grammar, constraint, tokenizer.vocab_size)
        token = draw.choice([token for token in choices if token != EOS] or [EOS])
        constraint.accept(token)
        if token == EOS:
            return tokenizer.decode(tokens), True
        tokens.append(token)
    return tokenizer.decode(tokens), False


@pytest.mark.parametrize("name", SOME)
def test_texts_are_closed_in_time_wherever_they_are(tokenizer, name):
    compiler = make_compiler(tokenizer)
    for max_tokens in (160, 300):
        for seed in range(3):
            text, ended = run_to_the_end(compiler, tokenizer, CORPUS[name], max_tokens, seed)
            assert ended, text
            jsonschema.validate(json.loads(text), CORPUS[name])


def test_the_way_is_as_long_as_it_says(tokenizer):
    compiler = make_compiler(tokenizer)
    grammar = compiler.compile(StructuredOutputsParams(json=CORPUS["person"]))
    closer, constraint = compiler._vocabulary.closer, grammar.new_constraint(None)
    for token in tokenizer.encode('{"name": "some'):
        constraint.accept(token)
    expected = closer.num_tokens_to_end(constraint.matcher, MAX_TOKENS)
    assert closer.num_tokens_to_end(constraint.matcher, expected) == expected
    assert closer.num_tokens_to_end(constraint.matcher, expected - 1) is None
    for num_tokens in range(1, expected + 1):
        choices = sum(1 << token for token in allowed(grammar, constraint, tokenizer.vocab_size))
        left, is_end = closer.narrow(choices)
        assert is_end == (num_tokens == expected)
        constraint.accept(left.bit_length() - 1)


FREE = """start: TEXT? (<[1]> marked)?
TEXT: /(.|\\n)*/
marked: %json {"type": "array", "items": {"type": "string"}}
"""


@pytest.mark.parametrize(("opens_at", "ends"), [(100, False), (70, True), (20, True)])
def test_free_text_is_cut_off_but_what_it_has_begun_is_closed(tokenizer, opens_at, ends):
    """Token 1 opens a list. Before that the text may end anywhere, but inside a character."""
    grammar = make_compiler(tokenizer).compile(StructuredOutputsParams(grammar=FREE, ends_in_time=False))
    draw, tokens = random.Random(1), []
    constraint, unhurried = grammar.new_constraint(100), grammar.new_constraint(None)
    while len(tokens) < 100 and tokens[-1:] != [EOS]:
        choices = allowed(grammar, constraint, tokenizer.vocab_size)
        if 1 not in tokens:
            assert choices == allowed(grammar, unhurried, tokenizer.vocab_size)
        if len(tokens) >= opens_at and 1 in choices:
            token = 1
        else:
            token = draw.choice([token for token in choices if token not in (1, EOS)] or [EOS])
        tokens.append(token)
        constraint.accept(token)
        unhurried.accept(token)
    assert (tokens[-1] == EOS) == ends
    if ends:
        assert isinstance(json.loads(tokenizer.decode(tokens[tokens.index(1) + 1 : -1])), list)


class CountingCloser:
    """Says how long the way is, and how often it was asked."""

    def __init__(self, num_needed):
        self.num_needed, self.num_looks, self.num_uses = num_needed, 0, 0

    def num_tokens_to_end(self, matcher, most):
        self.num_looks += 1
        return None if self.num_needed is None or self.num_needed > most else self.num_needed

    def narrow(self, allowed):
        self.num_uses += 1
        return allowed, False


def narrowed(num_needed, max_tokens):
    """Tokens left when the closer was first used, and the number of looks."""
    closer = CountingCloser(num_needed)
    deadline = Deadline(closer, max_tokens, num_needed)
    first = None
    while deadline.num_left > 0:
        if deadline.is_near:
            deadline.narrow(np.ones(1, np.uint32), None)
        if closer.num_uses == 1 and first is None:
            first = deadline.num_left
        deadline.num_left -= 1
    return first, closer.num_looks


def test_looks_become_frequent_only_near_the_end():
    for num_needed in (1, 5, 30, 100):
        at, num_looks = narrowed(num_needed, 2048)
        assert num_needed <= at <= num_needed + closing.MAX_MARGIN
        assert num_looks < 40
    assert narrowed(50, 20)[0] is None  # the shortest text does not fit
    assert narrowed(None, 2048)[0] is None  # there is no way
    assert narrowed(10, 10)[0] == 10
    assert narrowed(10, 9)[0] is None
    assert narrowed(MAX_TOKENS, 2048)[0] in (None, MAX_TOKENS)


def test_that_brackets_inside_strings_are_text_matters(tokenizer, monkeypatch):
    monkeypatch.setattr(closing, "_IN_STRING", closing._OUTSIDE)
    compiler = make_compiler(tokenizer)
    ended = [
        run_to_the_end(compiler, tokenizer, CORPUS["person-optional"], 160, seed)[1] for seed in range(3)
    ]
    assert not all(ended)


def test_tokens_that_open_come_last():
    texts = [b"{", b"}", b'"', b'"}', b'","', b"]", b":", b"n", b"null", b"1", b" [", b"", b"<end>"]
    closer = Closer(texts, frozenset({12}), [12])

    def left(*ids):
        tokens, is_end = closer.narrow(sum(1 << token for token in ids))
        return {token for token in range(len(texts)) if tokens >> token & 1}, is_end

    assert left(12, 1, 9) == ({12}, True)
    assert left(1, 2, 6) == ({1}, False)
    assert left(2, 4, 7, 9) == ({2}, False)
    assert left(0, 7, 8, 9, 10) == ({7, 8}, False)
    assert left(0, 1, 2, 3, 7) == ({2, 3}, False)  # both braces: inside a string
    assert left(0, 10) == ({0, 10}, False)
