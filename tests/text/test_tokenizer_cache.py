"""The vocabulary on disk: found again, and made anew whenever it is not what it should be."""

import json
import os

import pytest

from gradus.disk_cache.store import DiskCache
from gradus.errors import CheckpointError
from gradus.text import hf_tokenizer, tokenizer_cache
from gradus.text.hf_tokenizer import load_tokenizer
from tests.text import toy_tokenizers
from tests.text.toy_tokenizers import CORPUS

TEXT = " ".join(CORPUS) + "<|im_start|>Hi<think>"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(hf_tokenizer, "CACHED_BYTES", 1)
    return DiskCache(tmp_path / "cache")


@pytest.fixture
def model(tmp_path, byte_level_text):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(byte_level_text)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    return folder


@pytest.fixture
def reads(monkeypatch):
    """How often a tokenizer.json was read."""
    found = []
    read = hf_tokenizer._read_library
    monkeypatch.setattr(
        hf_tokenizer, "_read_library", lambda text, path: found.append(path) or read(text, path)
    )
    return found


def behaviour(tokenizer):
    ids = tokenizer.encode(TEXT)
    return (
        ids,
        tokenizer.decode(ids),
        tokenizer.special_ids,
        tokenizer.vocab_size,
        tokenizer.eos_token_id,
        [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size + 1)],
    )


def test_a_second_start_reads_no_tokenizer_json_and_behaves_the_same(cache, model, reads):
    without = behaviour(load_tokenizer(model))
    assert behaviour(load_tokenizer(model, cache)) == without
    assert len(reads) == 2
    assert behaviour(load_tokenizer(model, cache)) == without
    assert len(reads) == 2


def test_whole_words_come_back_from_the_cache(cache, model):
    built = json.loads(toy_tokenizers.byte_level_json(900))
    built["model"] |= {"ignore_merges": True, "merges": built["model"]["merges"][:150]}
    (model / "tokenizer.json").write_text(json.dumps(built))
    first, second = load_tokenizer(model, cache), load_tokenizer(model, cache)
    assert (
        first.encode(TEXT)
        == second.encode(TEXT)
        == toy_tokenizers.fast_of(json.dumps(built)).encode(TEXT).ids
    )


def test_a_changed_file_is_read_anew(cache, model, reads):
    load_tokenizer(model, cache).load()
    path = model / "tokenizer.json"
    before = path.stat()
    changed = path.read_text().replace("<think>", "<thinX>")
    path.write_text(changed)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time, another beginning
    assert load_tokenizer(model, cache).token_id("<thinX>") is not None
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    load_tokenizer(model, cache).load()
    path.write_text(changed + " ")
    load_tokenizer(model, cache).load()
    assert len(reads) == 4


def test_the_rest_of_the_configuration_is_not_cached(cache, model):
    load_tokenizer(model, cache).load()
    (model / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<think>", "chat_template": "X"}))
    again = load_tokenizer(model, cache)
    assert again.eos_token_id == again.token_id("<think>")
    assert again.eos_token_id in again.special_ids
    assert again.chat_template == "X"


def test_tables_of_other_rules_are_made_anew(cache, model, reads, monkeypatch):
    load_tokenizer(model, cache).load()
    monkeypatch.setattr(tokenizer_cache, "_VERSION", 0)
    load_tokenizer(model, cache).load()
    assert len(reads) == 2


@pytest.mark.parametrize("where", [0.0, 0.02, 0.2, 0.5, 0.8, 0.999])
def test_a_damaged_entry_is_noticed_wherever_it_is(cache, model, reads, where):
    expected = behaviour(load_tokenizer(model, cache))
    [file] = cache.files()
    damaged = bytearray(file.path.read_bytes())
    at = int(len(damaged) * where)
    while damaged[at] == 0:  # what fills the space between two sections is nobody's
        at -= 1
    damaged[at] ^= 0x10
    file.path.write_bytes(damaged)
    assert behaviour(load_tokenizer(model, cache)) == expected
    assert len(reads) == 2
    load_tokenizer(model, cache).load()
    assert len(reads) == 2


@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_a_truncated_entry_is_made_anew(cache, model, reads, size):
    expected = behaviour(load_tokenizer(model, cache))
    [file] = cache.files()
    file.path.write_bytes(file.path.read_bytes()[:size])
    assert behaviour(load_tokenizer(model, cache)) == expected
    assert len(reads) == 2


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"front": b"{", "texts": b"", "ends": b"", "merges": bytes(16), "whole_words": b"[]"},
        {"front": b"{}", "texts": b"abc", "ends": bytes(4), "merges": bytes(16), "whole_words": b"[]"},
        {"front": b"{}", "texts": b"", "ends": b"", "merges": bytes(15), "whole_words": b"[]"},
        {"front": b"{}", "texts": b"", "ends": b"", "merges": bytes(16), "whole_words": b"[3]"},
        {"front": b"{}", "texts": b"", "ends": b"", "merges": bytes(16), "whole_words": b"{}}"},
    ],
)
def test_an_entry_with_sound_checksums_and_senseless_tables_is_made_anew(cache, model, reads, sections):
    expected = behaviour(load_tokenizer(model, cache))
    with cache.create(tokenizer_cache.vocabulary_key(model / "tokenizer.json")) as writer:
        for name, data in sections.items():
            writer.add(name, data)
    assert behaviour(load_tokenizer(model, cache)) == expected
    assert len(reads) == 2


def test_a_broken_tokenizer_is_an_error_at_every_start(cache, model):
    (model / "tokenizer.json").write_text("{")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"tokenizer\.json is not a tokenizer"):
            load_tokenizer(model, cache).load()
    assert not cache.files()


def test_small_and_other_vocabularies_are_not_kept(cache, model, monkeypatch, word_piece_text):
    (model / "tokenizer.json").write_text(word_piece_text)
    assert load_tokenizer(model, cache).decode(load_tokenizer(model, cache).encode("the fox")) == "the fox"
    monkeypatch.setattr(hf_tokenizer, "CACHED_BYTES", 10**6)
    (model / "tokenizer.json").write_text(toy_tokenizers.byte_level_json())
    load_tokenizer(model, cache).load()
    assert not cache.files()
