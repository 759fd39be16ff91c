"""Tables against the library they were taken from: the same ids, names and texts."""

import json
import random
import struct
from itertools import pairwise

import pytest
from gradus.text._bpe import MergeTable, build_table
from hypothesis import given
from hypothesis import strategies as st

from gradus.text.encoder import LibraryEncoder, TableEncoder
from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.vocabulary import make_vocabulary, take_apart
from tests.text import toy_tokenizers
from tests.text.toy_tokenizers import CORPUS, fast_of


def shortcut_json():
    """Llama 3's rule: a word that is a token becomes that token, and not all such tokens can be merged."""
    built = json.loads(toy_tokenizers.byte_level_json(900))
    model = built["model"]
    model["ignore_merges"] = True
    long = [merge for merge in model["merges"] if len("".join(merge)) > 3]
    model["merges"] = [merge for merge in model["merges"] if merge not in long[::3]]
    return json.dumps(built)


KINDS = {
    "byte level": toy_tokenizers.byte_level_json(900),
    "sentencepiece": toy_tokenizers.sentencepiece_json(),
    "whole words first": shortcut_json(),
}
ENCODERS = {kind: TableEncoder(take_apart(text, fast_of(text))) for kind, text in KINDS.items()}
LIBRARY = {kind: fast_of(text) for kind, text in KINDS.items()}
SNIPPETS = [
    *(word for text in CORPUS for word in text.split(" ")),
    *("<|im_start|>", "<|im_end|>", "<think>", "new token", "<s>", "<0x41>", " ", "  ", "\n", "\t", "\x00"),
    *("1234", "e\u0301", "\u200d", "龘", "▁", "שלום", "مرحبا", "🏳️‍🌈", "aaaaaaaa"),
]
texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SNIPPETS), max_size=30).map("".join))


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, add_special_tokens=st.booleans())
def test_ids_are_those_of_the_library(kind, text, add_special_tokens):
    expected = LIBRARY[kind].encode(text, add_special_tokens=add_special_tokens).ids
    assert ENCODERS[kind].encode(text, add_special_tokens) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_texts_come_back(kind):
    encoder, text = ENCODERS[kind], "".join(CORPUS)
    assert encoder.decode(encoder.encode(text, False)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_ids_are_those_of_the_library(kind):
    encoder, library = ENCODERS[kind], LIBRARY[kind]
    assert encoder.size == library.get_vocab_size()
    for token_id in range(-1, encoder.size + 1):
        name = library.id_to_token(token_id) if token_id >= 0 else None
        assert encoder.vocabulary.token(token_id) == name
        if name is not None:
            assert encoder.token_id(name) == token_id
            assert encoder.vocabulary.token_id(name) == token_id
    for absent in ("", "<|im_sta", "no such token", "Ġ" * 50):
        assert encoder.token_id(absent) is None
        assert encoder.vocabulary.token_id(absent) is None


def test_the_rule_of_whole_words_matters_here():
    text = "".join(CORPUS)
    built = json.loads(KINDS["whole words first"])
    built["model"]["ignore_merges"] = False
    assert fast_of(json.dumps(built)).encode(text).ids != ENCODERS["whole words first"].encode(text, False)


def test_an_ordinary_token_can_be_made_special():
    text = KINDS["byte level"]
    ours, library = TableEncoder(take_apart(text, fast_of(text))), fast_of(text)
    assert library.token_to_id("llo") is not None
    theirs = LibraryEncoder(library)
    for encoder in (ours, theirs):
        encoder.mark_special(["llo", "<think>", "not in the vocabulary"])
    prompt = "Hello there, xHello<think>"
    assert ours.encode(prompt, False) == theirs.encode(prompt, False)
    assert ours.special_ids == theirs.special_ids > ENCODERS["byte level"].special_ids
    assert ours.size == theirs.size


@pytest.mark.parametrize(
    "change",
    [
        {"dropout": 0.1},
        {"continuing_subword_prefix": "##", "merges": []},
        {"end_of_word_suffix": "</w>"},
        {"merges": [["l", "o"], ["lo", "w"]], "vocab": {"l": 0, "o": 1, "w": 2, "lo": 3, "low": 1000}},
    ],
)
def test_what_tables_cannot_express_is_left_to_the_library(tmp_path, change):
    built = json.loads(KINDS["byte level"])
    built["model"] |= change
    built["added_tokens"] = []
    text = json.dumps(built)
    assert take_apart(text, fast_of(text)) is None
    (tmp_path / "tokenizer.json").write_text(text)
    if "dropout" not in change:
        assert load_tokenizer(tmp_path).encode("low low") == fast_of(text).encode("low low").ids


def test_other_models_are_left_to_the_library():
    text = toy_tokenizers.word_piece_json()
    assert take_apart(text, fast_of(text)) is None


def test_ids_without_tokens_and_two_with_the_same_text():
    tokens = ["a", "", "bc", "bc", "cb"]
    vocabulary = make_vocabulary({"model": {"type": "BPE"}}, tokens, [])
    assert [vocabulary.token(token_id) or "" for token_id in range(-1, 6)] == ["", *tokens, ""]
    assert [vocabulary.token_id(text) for text in ("a", "bc", "cb", "b", "")] == [0, 3, 4, None, None]


def merged(word, merges):
    """The definition: merge the pair of the lowest rank, leftmost first, until there is none."""
    word = list(word)
    by_pair = {(left, right): (rank, token) for left, right, rank, token in merges}
    while True:
        found = [(by_pair[pair], i) for i, pair in enumerate(pairwise(word)) if pair in by_pair]
        if not found:
            return word
        (_, token), i = min(found, key=lambda each: (each[0][0], each[1]))
        word[i : i + 2] = [token]


small = st.integers(0, 7)


@given(
    merges=st.lists(st.tuples(small, small, st.integers(0, 9), small), max_size=40),
    words=st.lists(st.lists(small, min_size=1, max_size=40), max_size=5),
)
def test_merging_is_by_rank_then_from_the_left(merges, words):
    table = MergeTable(build_table(merges), ())
    numbers = [i for i, word in enumerate(words) for _ in word]
    expected = [token for word in words for token in merged(word, merges)]
    assert table.merge([token for word in words for token in word], numbers) == expected


def test_a_token_of_no_word_stands_alone():
    table = MergeTable(build_table([(1, 1, 0, 2)]), ())
    assert table.merge([1, 1, 1, 1], [0, 0, None, None]) == [2, 1, 1]


def test_whole_words_are_found_before_anything_merges():
    table = MergeTable(build_table([(1, 1, 0, 2)]), (((1, 1, 1), 9),))
    assert table.merge([1, 1, 1, 1, 1], [0, 0, 0, 1, 1]) == [9, 2]


def test_a_table_with_any_content_merges_without_harm():
    source = random.Random(5)
    for slots in (1, 2, 64):
        for span in (2, 5, 2**32):
            values = [source.randrange(span) for _ in range(4 * slots)]
            table = MergeTable(struct.pack(f"<{4 * slots}I", *values), ())
            assert table.merge([0, 1, 2, 1, 0, 3] * 50, [0] * 300)
    for wrong in (b"", b"x" * 15, b"x" * 48):
        with pytest.raises(ValueError):
            MergeTable(wrong, ())
    with pytest.raises(ValueError, match="one word number per token"):
        MergeTable(build_table([]), ()).merge([1, 2], [0])
