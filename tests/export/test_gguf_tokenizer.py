"""Tokenizers as metadata: every id's token and kind, merges, ends, and what cannot be written."""

import json

import pytest

from gradus.errors import CheckpointError
from gradus.export.gguf_tokenizer import tokenizer_metadata
from tests.text.toy_tokenizers import byte_level_json, fast_of, sentencepiece_json, word_piece_json

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5


def write(directory, tokenizer, **config):
    (directory / "tokenizer.json").write_text(tokenizer)
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


def changed(**parts):
    return json.dumps(json.loads(byte_level_json()) | parts)


def test_every_id_has_its_token(tmp_path):
    text = byte_level_json()
    metadata = tokenizer_metadata(write(tmp_path, text), vocab_size=430, eos_token_ids=())
    fast = fast_of(text)
    size = fast.get_vocab_size()
    tokens, kinds = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"].tolist()
    assert tokens[:size] == [fast.id_to_token(i) for i in range(size)]
    assert tokens[size:] == [f"[PAD{i}]" for i in range(size, 430)]
    assert kinds[:3] == [CONTROL] * 3
    assert kinds[3 : size - 2] == [NORMAL] * (size - 5)
    assert kinds[size - 2 : size] == [USER_DEFINED] * 2
    assert kinds[size:] == [UNUSED] * (430 - size)
    merges = json.loads(text)["model"]["merges"]
    assert metadata["tokenizer.ggml.merges"] == [" ".join(merge) for merge in merges]
    assert metadata["tokenizer.ggml.pre"] == "gpt-2"
    assert "tokenizer.chat_template" not in metadata


def test_special_tokens_and_template(tmp_path):
    write(
        tmp_path,
        byte_level_json(),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template="{{ x }}",
    )
    metadata = tokenizer_metadata(tmp_path, 430, eos_token_ids=(0, 2, 1))
    found = {key.removeprefix("tokenizer.ggml."): metadata[key] for key in metadata if key.endswith("_id")}
    # The tokenizer's own end goes first.
    assert found == {"eos_token_id": 2, "eot_token_id": 0, "eom_token_id": 1, "padding_token_id": 0}
    assert metadata["tokenizer.chat_template"] == "{{ x }}"
    assert (metadata["tokenizer.ggml.add_bos_token"], metadata["tokenizer.ggml.add_eos_token"]) == (
        False,
        False,
    )


def test_a_leading_token_is_told(tmp_path):
    template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}},
    }
    metadata = tokenizer_metadata(write(tmp_path, changed(post_processor=template)), 430, eos_token_ids=(2,))
    assert metadata["tokenizer.ggml.add_bos_token"] is True
    assert metadata["tokenizer.ggml.bos_token_id"] == 1


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


@pytest.mark.parametrize(
    ("pattern", "name"), [(WORDS + r"\p{N}" + REST, "qwen2"), (WORDS + r"\p{N}{1,3}" + REST, "llama-bpe")]
)
def test_pre_tokenizers_are_known_by_their_patterns(pattern, name, tmp_path):
    steps = {"type": "Sequence", "pretokenizers": [split(pattern), BYTES]}
    metadata = tokenizer_metadata(write(tmp_path, changed(pre_tokenizer=steps)), 430, eos_token_ids=(2,))
    assert metadata["tokenizer.ggml.pre"] == name


@pytest.mark.parametrize(
    ("tokenizer", "vocab_size", "words"),
    [
        (word_piece_json(), 430, "a WordPiece tokenizer; byte-level BPE and Sentence"),
        (sentencepiece_json(), 430, "do not merge though .* is a token; llama.cpp merges any two"),
        (byte_level_json(), 300, "token id 421, but the model's vocabulary has 300 entries"),
        (changed(pre_tokenizer=split(r"\d+")), 430, "for which llama.cpp has no name .* qwen2, llama-bpe"),
        (changed(pre_tokenizer=BYTES | {"add_prefix_space": True, "use_regex": True}), 430, "has no name"),
    ],
)
def test_what_cannot_be_written(tokenizer, vocab_size, words, tmp_path):
    with pytest.raises(CheckpointError, match=words):
        tokenizer_metadata(write(tmp_path, tokenizer), vocab_size, eos_token_ids=(2,))
