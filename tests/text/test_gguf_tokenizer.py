"""Tokenizers from GGUF metadata: llama.cpp's ids, and errors for what llama.cpp reads and Gradus does not."""

import http.client
import json
from collections.abc import Sequence

import numpy as np
import pytest
import transformers
import xllamacpp
from hypothesis import given
from hypothesis import strategies as st

from gradus.disk_cache.store import DiskCache
from gradus.errors import CheckpointError
from gradus.text import gguf_vocabulary
from gradus.text.gguf_tokenizer import gguf_tokenizer
from tests.text import gguf_files, multilingual
from tests.text.corpus import CORPUS
from tests.text.gguf_files import byte_level_metadata, sentencepiece_metadata, write_model

TEXTS = [*multilingual.texts(60), *CORPUS]
CASES = {
    "qwen2": byte_level_metadata("qwen2"),
    "llama-bpe": byte_level_metadata("llama-bpe"),
    "default": byte_level_metadata("default"),
    "no pre-tokenizer": byte_level_metadata(None),
    "gpt-2": byte_level_metadata("gpt-2"),
    "smollm": byte_level_metadata("smollm"),
    "beginning and end": byte_level_metadata("qwen2", add_bos_token=True, add_eos_token=True),
    "llama 3 without a beginning": byte_level_metadata("llama3", add_bos_token=False),
    "sentencepiece": sentencepiece_metadata(),
    "tied scores": sentencepiece_metadata(tied=True),
    "no space prefix": sentencepiece_metadata(
        add_space_prefix=False, add_bos_token=False, add_eos_token=True
    ),
    "an ordinary token as the end": byte_level_metadata("qwen2", eos_token_id=40),
}


class LlamaCpp:
    """The tokenizer of llama.cpp's server."""

    def __init__(self, path):
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel, params.port = 128, 1, 0
        params.warmup, params.verbosity = False, 0
        self.server = xllamacpp.Server(params)
        self.connection = http.client.HTTPConnection(self.server.listening_address.removeprefix("http://"))

    def encode(self, text, add_special_tokens):
        body = {"content": text, "add_special": add_special_tokens, "parse_special": True}
        self.connection.request("POST", "/tokenize", json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(self.connection.getresponse().read())["tokens"]


@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_llama_cpp(tmp_path, case):
    path = write_model(tmp_path / "model.gguf", CASES[case])
    ours, theirs = gguf_tokenizer(CASES[case], path), LlamaCpp(path)
    together = "<|im_end|>".join(TEXTS)  # of which each piece is cut for itself
    assert ours.encode(together, False) == theirs.encode(together, False)
    for text in TEXTS[::9]:
        assert ours.encode(text) == theirs.encode(text, True), text


def test_the_texts_tell_the_rules_apart():
    tokenizers = [gguf_tokenizer(metadata, "x") for metadata in CASES.values()]
    found = {tuple(tuple(tokenizer.encode(text)) for text in TEXTS) for tokenizer in tokenizers}
    # No pre-tokenizer is the default one, and which token ends an answer changes no prompt.
    assert len(found) == len(CASES) - 2


def test_whole_words_come_first_in_llama_3():
    """Merges no longer arrive at "The", which still is a token."""
    metadata = byte_level_metadata("llama-bpe")
    merges = [merge for merge in metadata["tokenizer.ggml.merges"] if merge.replace(" ", "") != "The"]
    changed = {**metadata, "tokenizer.ggml.merges": merges}
    assert len(gguf_tokenizer(changed, "x").encode("The", False)) == 1
    assert len(gguf_tokenizer({**changed, "tokenizer.ggml.pre": "qwen2"}, "x").encode("The", False)) > 1


def test_scores_decide():
    metadata = sentencepiece_metadata()
    reversed_scores = {**metadata, "tokenizer.ggml.scores": metadata["tokenizer.ggml.scores"][::-1].copy()}
    one, other = gguf_tokenizer(metadata, "x"), gguf_tokenizer(reversed_scores, "x")
    assert any(one.encode(text) != other.encode(text) for text in TEXTS)


def test_transformers_agrees_on_the_same_vocabulary(tmp_path):
    metadata = byte_level_metadata("qwen2")
    ours = gguf_tokenizer(metadata, "x")
    built = json.loads(gguf_files.toy_tokenizers.byte_level_json(900))
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    built["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, byte_level]}
    tokens = metadata["tokenizer.ggml.tokens"]
    built["model"]["vocab"] = {token: token_id for token_id, token in enumerate(tokens)}
    built["model"]["merges"] = [merge.split(" ") for merge in metadata["tokenizer.ggml.merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(built))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text), skip_special_tokens=True)


BYTE_LEVEL = gguf_tokenizer(CASES["qwen2"], "x")
SENTENCEPIECE = gguf_tokenizer(CASES["sentencepiece"], "x")


@given(st.one_of(st.text(max_size=60), st.sampled_from(TEXTS)))
def test_texts_come_back(text):
    assert BYTE_LEVEL.decode(BYTE_LEVEL.encode(text), skip_special_tokens=False) == text


@given(st.text(st.characters(exclude_characters="▁<", exclude_categories=["Cs"]), max_size=60))
def test_texts_come_back_from_sentencepiece(text):
    if "user defined" not in text:
        assert SENTENCEPIECE.decode(SENTENCEPIECE.encode(text)) == text


def test_roles_and_what_is_left_out_of_text():
    metadata = {**byte_level_metadata(eot_token_id=1, mask_token_id=10**6), "tokenizer.chat_template": "T"}
    tokenizer = gguf_tokenizer(metadata, "x")
    assert tokenizer.special_tokens == {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 2, 0)
    assert tokenizer.special_ids == {0, 1, 2}
    assert tokenizer.vocab_size == len(metadata["tokenizer.ggml.tokens"])
    assert tokenizer.chat_template == "T"
    ids = tokenizer.encode("<|im_start|><think>Hi new token<|im_end|>")
    assert tokenizer.decode(ids) == "<think>Hi new token"
    assert not gguf_tokenizer(byte_level_metadata(), "x").has_chat_template


def test_sentencepiece_has_roles_without_saying_so():
    metadata = sentencepiece_metadata(bos_token_id=None, eos_token_id=None, unknown_token_id=None)
    tokenizer = gguf_tokenizer(metadata, "x")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.encode("a")[0] == 1
    assert tokenizer.special_tokens["unk_token"] == "<unk>"


BYTES, PIECES = byte_level_metadata, sentencepiece_metadata
NUM_TOKENS = len(BYTES()["tokenizer.ggml.tokens"])


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "no tokenizer"),
        (BYTES(model="bert"), "tokenizer is 'bert'; gpt2 .* and llama are supported"),
        (BYTES(model=3), "tokenizer is 3"),
        (BYTES("deepseek-llm"), "pre-tokenizer is 'deepseek-llm'; supported are qwen2, llama-bpe"),
        (BYTES(["qwen2"]), r"pre-tokenizer is \['qwen2'\]"),
        (BYTES(tokens=None), "tokenizer.ggml.tokens is missing"),
        (BYTES(tokens="abc"), "tokenizer.ggml.tokens is 'abc', not an array"),
        (BYTES(tokens=7), "tokenizer.ggml.tokens is 7, not an array"),
        (BYTES(tokens=[1, 2], token_type=[1, 1]), "tokenizer.ggml.tokens has 1, not text"),
        (BYTES(merges=None), "tokenizer.ggml.merges is missing"),
        (BYTES(merges=["a b c"]), r"merges\[0\] is 'a b c'"),
        (BYTES(merges=["0 1", "01"]), r"merges\[1\] is '01'"),
        (BYTES(merges=[""]), r"merges\[0\] is ''"),
        (BYTES(merges=[5]), r"tokenizer.ggml.merges has 5, not text"),
        (BYTES(token_type=np.ones(5, np.int32)), f"token_type has 5 values for {NUM_TOKENS:,} tokens"),
        (BYTES(token_type=["x"] * NUM_TOKENS), "token_type has 'x', not a number"),
        (BYTES(bos_token_id="0"), "bos_token_id is '0', not an integer"),
        (BYTES(eos_token_id=True), "eos_token_id is True, not an integer"),
        (BYTES(add_bos_token=1), "add_bos_token is 1, not true or false"),
        (BYTES("llama-bpe", tokens=["a", "bc"], token_type=[1, 1], merges=[]), "'bc' has a character"),
        ({**BYTES(), "tokenizer.chat_template": 3}, "chat_template is int, not text"),
        (PIECES(tokens=["a" * 5000], token_type=[1], scores=[0.0]), "token of 5,000 characters; up to 1,024"),
        (PIECES(scores=None), "tokenizer.ggml.scores is missing"),
        (PIECES(scores=np.ones(3, np.float32)), "scores has 3 values"),
        (PIECES(scores=np.full(len(PIECES()["tokenizer.ggml.tokens"]), np.nan)), "no number"),
        (PIECES(add_space_prefix="no"), "add_space_prefix is 'no'"),
    ],
)
def test_what_is_wrong_is_said(metadata, reason):
    with pytest.raises(CheckpointError, match=f"some.gguf: .*{reason}"):
        gguf_tokenizer(metadata, "some.gguf").load()


def test_merges_that_multiply_are_refused(monkeypatch):
    """Every token is made of any two shorter ones."""
    monkeypatch.setattr(gguf_vocabulary, "MAX_SCORED_MERGES", 1000)
    for count, is_refused in ((45, False), (46, True)):  # 45 * 44 / 2 = 990
        metadata = PIECES(tokens=["a" * n for n in range(1, count + 1)], token_type=[1] * count)
        tokenizer = gguf_tokenizer(metadata | {"tokenizer.ggml.scores": [0.0] * count}, "x")
        if is_refused:
            with pytest.raises(CheckpointError, match="more than 1,000 pairs"):
                tokenizer.load()
        else:
            tokenizer.load()


class Lazy(Sequence):
    """An array that counts how many of its items were looked at."""

    def __init__(self, values):
        self.values = values
        self.num_reads = 0

    def __len__(self):
        return len(self.values)

    def __getitem__(self, i):
        self.num_reads += 1
        return self.values[i]


def test_a_second_start_looks_at_few_items(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    path = write_model(tmp_path / "model.gguf", CASES["qwen2"])

    def start(cache):
        metadata = dict(CASES["qwen2"])
        for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges"):
            metadata[key] = Lazy(metadata[key])
        tokenizer = gguf_tokenizer(metadata, path, cache)
        ids = [tokenizer.encode(text) for text in TEXTS]
        num_reads = sum(value.num_reads for value in metadata.values() if isinstance(value, Lazy))
        return ids, tokenizer.special_ids, num_reads

    first, second, uncached = start(cache), start(cache), start(None)
    assert first[:2] == second[:2] == uncached[:2]
    assert second[2] < 10 < NUM_TOKENS < first[2]
    path.write_bytes(path.read_bytes() + b"\0")
    assert start(cache)[2] == first[2]
