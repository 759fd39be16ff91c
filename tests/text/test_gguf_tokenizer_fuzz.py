"""Whatever a file's metadata says of its tokenizer, it is read or refused, and never another error."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import CheckpointError, InvalidRequestError
from gradus.text.chat_template import ChatTemplate
from gradus.text.gguf_tokenizer import gguf_tokenizer
from tests.text.gguf_files import byte_level_metadata, prefixed, sentencepiece_metadata

TEXTS = ["", "Hello, wörld  你好 👍🏽\n<|im_end|></s> user defined", "\x00▁Ġ"]
ODD_TEXTS = [
    "",
    " ",
    "a",
    "▁",
    "Ġ",
    "a b c",
    "<s>",
    "</s>",
    "<0x41>",
    "<0xZZ>",
    "<|im_end|>",
    "\x00",
    "\ufffd",
    "ı" * 300,
    "a" * 2000,
    "{",
    '"',
    "\\",
    "(?i",
    "$0",
    "👍🏽",
]
ODD_NUMBERS = [-(2**63), -1, 0, 1, 2, 3, 7, 2**31, 2**32, 2**63, 2**64 - 1]
SCALARS: list[Any] = [
    None,
    True,
    False,
    0.5,
    float("nan"),
    float("inf"),
    "",
    "llama",
    "gpt2",
    "qwen2",
    "llama-bpe",
    "default",
    [],
    *ODD_NUMBERS,
]
TEMPLATE_PARTS = [
    *("{{", "}}", "{%", "%}", "{#", "#}", "for m in messages", "endfor", "if", "endif", "else", "set a = 1"),
    *("messages[0].content", "loop.index", "|tojson", "**", "'a' * 9", "7", "(", ")", "[", "\n", "\x00"),
    *("range(99999999)", "raise_exception('no')", "macro f()", "f()", "endmacro", "generation"),
    *("include 'x'", "import 'os' as os", "self.__class__.__mro__", "x.y.z", "is defined"),
]
KEYS = (
    *(f"{role}_token_id" for role in ("bos", "eos", "unknown", "seperator", "padding", "mask", "eot", "eom")),
    *("add_bos_token", "add_eos_token", "add_space_prefix", "model", "pre"),
    *("tokens", "token_type", "scores", "merges"),
)
ARRAYS = ("tokens", "token_type", "scores", "merges")


def small(metadata):
    """A handful of merges and of tokens of each kind: vocabularies that are read in no time."""
    short = {key.removeprefix("tokenizer.ggml."): value for key, value in metadata.items()}
    if short["model"] == "gpt2":
        kept = [i for i, token in enumerate(short["tokens"]) if i < 300 or short["token_type"][i] != 1]
        short["tokens"] = [short["tokens"][i] for i in kept]
        short["token_type"] = short["token_type"][kept]
        known = set(short["tokens"])
        short["merges"] = [m for m in short["merges"] if {*m.split(" "), m.replace(" ", "", 1)} <= known]
    return short


BASES = [
    small(byte_level_metadata("llama-bpe")),
    small(byte_level_metadata("qwen2")),
    small(sentencepiece_metadata()),
]


def changed_array(draw, values):
    """Items that are other ones, of other types, missing or doubled; sometimes as one of NumPy's arrays."""
    values = list(values)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(values) - 1)))
        kind = draw(st.sampled_from(["text", "number", "double", "remove", "shuffle", "scalar"]))
        if kind == "text":
            values[at : at + 1] = [draw(st.sampled_from(ODD_TEXTS))]
        elif kind == "number":
            values[at : at + 1] = [draw(st.sampled_from(ODD_NUMBERS))]
        elif kind == "double" and values:
            values.insert(at, values[draw(st.integers(0, len(values) - 1))])
        elif kind == "remove":
            del values[at : at + draw(st.integers(1, 40))]
        elif kind == "shuffle" and values:
            other = draw(st.integers(0, len(values) - 1))
            values[at], values[other] = values[other], values[at]
        else:
            values[at : at + 1] = [draw(st.sampled_from(SCALARS))]
    if draw(st.booleans()) and values and all(type(value) is int and abs(value) < 2**31 for value in values):
        return np.array(values, np.int32)
    return values


@st.composite
def hostile(draw):
    values = dict(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(KEYS))
        if key in ARRAYS and isinstance(values.get(key), (list, np.ndarray)) and draw(st.integers(0, 4)):
            values[key] = changed_array(draw, values[key])
        else:
            values[key] = draw(st.sampled_from(SCALARS))
    return prefixed(values)


@settings(max_examples=250)
@given(hostile(), st.lists(st.sampled_from(ODD_NUMBERS), max_size=5))
def test_metadata_that_contradicts_itself(metadata, token_ids):
    refusal = ""
    try:
        tokenizer = gguf_tokenizer(metadata, "some.gguf")
        tokenizer.load()
    except CheckpointError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("some.gguf: ")
        assert len(refusal) < 1000
        return
    size = tokenizer.vocab_size
    for text in TEXTS:
        assert all(0 <= token_id < size for token_id in tokenizer.encode(text))
    tokenizer.decode([token_id for token_id in [*token_ids, *range(size)] if token_id >= 0])
    assert all(0 <= token_id < size for token_id in tokenizer.special_ids)
    _ = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id


@settings(max_examples=100)
@given(st.lists(st.sampled_from(TEMPLATE_PARTS), max_size=12).map(" ".join))
def test_templates_are_rendered_or_refused(source):
    tokenizer = gguf_tokenizer({**byte_level_metadata(), "tokenizer.chat_template": source}, "some.gguf")
    template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens)
    with suppress(InvalidRequestError):
        assert isinstance(template.render([{"role": "user", "content": "Hi"}]), str)


@pytest.mark.parametrize("value", [7, True, 0.5, ["x"], np.array([1])])
def test_a_template_that_is_no_text_is_refused(value):
    with pytest.raises(CheckpointError, match=r"tokenizer.chat_template is .*, not text"):
        gguf_tokenizer({**byte_level_metadata(), "tokenizer.chat_template": value}, "some.gguf")
