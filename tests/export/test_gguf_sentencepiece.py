"""SentencePiece tokenizers as metadata: llama.cpp finds the library's tokens, or the tokenizer is refused."""

import json

import pytest

from gradus.errors import CheckpointError
from gradus.export.gguf_tokenizer import tokenizer_metadata
from gradus.text.gguf_tokenizer import gguf_tokenizer
from tests.text import multilingual
from tests.text.corpus import CORPUS
from tests.text.gguf_files import write_model
from tests.text.test_gguf_tokenizer import LlamaCpp
from tests.text.toy_tokenizers import converted_sentencepiece_json, fast_of, sentencepiece_json

TEXTS = [*multilingual.texts(60), *CORPUS]
BOS = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6


def added(content, token_id, **rules):
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token_id, "content": content} | usual | rules


ADDED = [
    *(added(name, token_id) for token_id, name in enumerate(("<unk>", "<s>", "</s>"))),
    added("<|im_end|>", 400),
    added("user defined", 401, special=False),
]
FORMS = {
    "a space before every text": {"post_processor": BOS},
    "no space, by normalizer": {"normalizer": REPLACE, "post_processor": BOS},
    "no space, by pre-tokenizer": {"normalizer": None, "pre_tokenizer": METASPACE},
}


def write(directory, text, **config):
    (directory / "tokenizer.json").write_text(text)
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | config
    (directory / "tokenizer_config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.parametrize("form", FORMS)
def test_llama_cpp_and_our_reader_find_the_library_s_tokens(form, tmp_path):
    text = converted_sentencepiece_json(added_tokens=ADDED, **FORMS[form])
    metadata = tokenizer_metadata(write(tmp_path, text), 420, eos_token_ids=(2,))
    path = write_model(tmp_path / "model.gguf", metadata)
    fast, ours, theirs = fast_of(text), gguf_tokenizer(metadata, path), LlamaCpp(path)
    for start in range(0, len(TEXTS), 9):
        together = "</s>".join(TEXTS[start : start + 9])
        expected = fast.encode(together, add_special_tokens=False).ids
        assert ours.encode(together, False) == expected
        assert theirs.encode(together, False) == expected
    assert theirs.encode("Hello", True) == ours.encode("Hello") == fast.encode("Hello").ids


def test_kinds_scores_and_roles(tmp_path):
    text = converted_sentencepiece_json(added_tokens=ADDED)
    metadata = tokenizer_metadata(write(tmp_path, text), 420, eos_token_ids=(2,))
    tokens = metadata["tokenizer.ggml.tokens"]
    kinds = dict(zip(tokens, metadata["tokenizer.ggml.token_type"].tolist(), strict=True))
    assert [kinds[name] for name in ("<unk>", "<s>", "</s>", "<|im_end|>")] == [UNKNOWN, *[CONTROL] * 3]
    assert kinds["user defined"] == USER_DEFINED
    assert all(kinds[f"<0x{byte:02X}>"] == BYTE for byte in range(256))
    scores = dict(zip(tokens, metadata["tokenizer.ggml.scores"].tolist(), strict=True))
    merges = json.loads(text)["model"]["merges"]
    order = list(dict.fromkeys("".join(merge) for merge in merges))
    assert [scores[token] for token in order] == sorted((scores[token] for token in order), reverse=True)
    assert len({scores[token] for token in order}) == len(order)
    ids = {key: metadata[f"tokenizer.ggml.{key}_token_id"] for key in ("bos", "eos", "unknown")}
    assert ids == {"bos": 1, "eos": 2, "unknown": 0}
    assert metadata["tokenizer.ggml.model"] == "llama"


def changed_model(**changes):
    return {"model": json.loads(converted_sentencepiece_json())["model"] | changes}


def without_a_byte():
    model = changed_model()["model"]
    vocab = {token: token_id for token, token_id in model["vocab"].items() if token != "<0x41>"}
    merges = [merge for merge in model["merges"] if all(part in vocab for part in [*merge, "".join(merge)])]
    return {"model": model | {"vocab": vocab, "merges": merges}}


def with_torn_merges():
    """The alternatives of one token merge first and last."""
    merges = changed_model()["model"]["merges"]
    twice = next(m for i, m in enumerate(merges) if i and "".join(m) == "".join(merges[i - 1]))
    return changed_model(merges=[*(merge for merge in merges if merge != twice), twice])


@pytest.mark.parametrize(
    ("text", "config", "words"),
    [
        (sentencepiece_json(), {}, "do not merge though"),
        (converted_sentencepiece_json(**with_torn_merges()), {}, "at two places of the order"),
        (converted_sentencepiece_json(**without_a_byte()), {}, "lacks 1 of the 256 .*<0x41>"),
        (converted_sentencepiece_json(pre_tokenizer=METASPACE), {}, "GGUF can only say"),
        (
            converted_sentencepiece_json(
                normalizer=None, pre_tokenizer=METASPACE | {"prepend_scheme": "first"}
            ),
            {},
            "'prepend_scheme': 'first'.* never prepends",
        ),
        (converted_sentencepiece_json(normalizer={"type": "NFC"}), {}, "normalizer {'type': 'NFC'}"),
        (
            converted_sentencepiece_json(added_tokens=[added("<s>", 1, rstrip=True)]),
            {},
            "'<s>' is found in .*rstrip",
        ),
        (converted_sentencepiece_json(), {"eos_token": None}, "it has no eos_token"),
    ],
)
def test_what_llama_cpp_would_cut_otherwise_is_refused(text, config, words, tmp_path):
    with pytest.raises(CheckpointError, match=f"tokenizer.json cannot be written to GGUF: .*{words}"):
        tokenizer_metadata(write(tmp_path, text, **config), 420, eos_token_ids=())
