"""Deltas concatenate to the text of the whole, for any token ids and any way of splitting them."""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.text.detokenizer import Detokenizer
from tests.text.toy_tokenizers import fast_of

TEXTS = [
    "Hello, world!",
    "你好，世界！大语言模型",
    "👩‍👩‍👧‍👦 and 🏳️‍🌈👍🏽!",
    "  leading spaces, and trailing  ",
    "é ≠ é\n\ttab",
    "mixed 中文 with 😀 and <think>tags</think>",
]


def split(ids, cuts):
    edges = [0, *sorted({min(cut, len(ids)) for cut in cuts}), len(ids)]
    return [ids[a:b] for a, b in itertools.pairwise(edges)]


def streamed(tokenizer, chunks, **options):
    detokenizer = Detokenizer(tokenizer, **options)
    deltas = [detokenizer.push(chunk) for chunk in chunks]
    deltas.append(detokenizer.flush())
    for delta in deltas:
        delta.encode()  # valid Unicode: no lone surrogates
    return "".join(deltas)


# Special and added tokens are few, so they are drawn on purpose.
byte_level_ids = st.lists(st.integers(0, 430) | st.sampled_from([0, 2, 420, 421]), max_size=60)
sentencepiece_ids = st.lists(st.integers(0, 410) | st.integers(0, 5), max_size=60)
cuts = st.lists(st.integers(0, 60), max_size=20)


@settings(max_examples=300)
@given(ids=byte_level_ids, cuts=cuts, skip=st.booleans())
def test_byte_level_equals_the_librarys_decode_of_the_whole(byte_level, byte_level_text, ids, cuts, skip):
    expected = fast_of_cached(byte_level_text).decode(ids, skip_special_tokens=skip)
    assert streamed(byte_level, split(ids, cuts), skip_special_tokens=skip) == expected
    assert byte_level.decode(ids, skip_special_tokens=skip) == expected


@settings(max_examples=300)
@given(ids=sentencepiece_ids, cuts=cuts)
def test_sentencepiece_equals_its_own_decode_of_the_whole(sentencepiece, ids, cuts):
    assert streamed(sentencepiece, split(ids, cuts)) == sentencepiece.decode(ids)


@settings(max_examples=200)
@given(text=st.text(max_size=40), cuts=cuts)
def test_sentencepiece_equals_the_librarys_decode_for_real_text(
    sentencepiece, sentencepiece_text, text, cuts
):
    ids = sentencepiece.encode(text)
    expected = fast_of_cached(sentencepiece_text).decode(ids, skip_special_tokens=True)
    assert streamed(sentencepiece, split(ids, cuts)) == expected


@settings(max_examples=200)
@given(text=st.text(max_size=60), cuts=cuts)
def test_byte_level_gives_any_text_back(byte_level, text, cuts):
    ids = byte_level.encode(text)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    if not any(name in text for name in special):
        assert streamed(byte_level, split(ids, cuts)) == text


@settings(max_examples=100)
@given(ids=st.lists(st.integers(0, 310), max_size=40), cuts=cuts)
def test_word_piece_equals_the_librarys_decode(word_piece, word_piece_text, ids, cuts):
    expected = fast_of_cached(word_piece_text).decode(ids, skip_special_tokens=True)
    assert streamed(word_piece, split(ids, cuts)) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_comes_back_token_by_token(byte_level, sentencepiece, text):
    for tokenizer in (byte_level, sentencepiece):
        ids = tokenizer.encode(text)
        assert streamed(tokenizer, [[i] for i in ids]) == text


@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece", "word_piece"])
@pytest.mark.parametrize("cut", [0, 1, 2, 5])
def test_an_output_continues_its_prompt(kind, cut, request):
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer.encode("the quick brown fox, jumps again")
    detokenizer = Detokenizer(tokenizer, prompt_token_ids=ids[:cut])
    output = "".join(detokenizer.push([i]) for i in ids[cut:]) + detokenizer.flush()
    assert tokenizer.decode(ids[:cut]) + output == tokenizer.decode(ids)


def test_an_unfinished_character_is_held_back_and_an_invalid_one_becomes_the_replacement(byte_level):
    ids = byte_level.encode("龘")  # three bytes that no merge joins
    assert len(ids) == 3
    detokenizer = Detokenizer(byte_level)
    assert [detokenizer.push([i]) for i in ids] == ["", "", "龘"]
    assert detokenizer.push(ids[:2]) == ""
    assert detokenizer.push(byte_level.encode("a")) == "\ufffda"
    assert detokenizer.push(ids[:1]) == ""
    assert detokenizer.flush() == "\ufffd"


@pytest.mark.parametrize("bad", [10**6, 2**31, 2**32, 2**40, -1])
def test_ids_beyond_the_vocabulary_decode_to_nothing(byte_level, sentencepiece, word_piece, bad):
    for tokenizer in (byte_level, sentencepiece, word_piece):
        ids = tokenizer.encode("Hello")
        assert tokenizer.decode([bad]) == ""
        assert tokenizer.token_text(bad) == ""
        assert streamed(tokenizer, [ids, [bad]]) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", ["byte_level", "word_piece"])
def test_the_cost_of_a_token_does_not_grow_with_the_sequence(kind, request):
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer.encode("the quick brown fox ") * 400

    def seconds(detokenizer, chunk):
        start = time.perf_counter()
        for token_id in chunk:
            detokenizer.push([token_id])
        return time.perf_counter() - start

    detokenizer = Detokenizer(tokenizer)
    first = min(seconds(detokenizer, ids[:500]) for _ in range(3))
    detokenizer.push(ids)
    later = min(seconds(detokenizer, ids[:500]) for _ in range(3))
    assert later < 5 * first + 0.01


_fast = {}


def fast_of_cached(text):
    if text not in _fast:
        _fast[text] = fast_of(text)
    return _fast[text]
