"""Where words end: a vocabulary in which any two bytes merge shows it. llama.cpp and the library are asked.

They differ at letters that are newer than llama.cpp's table of characters and at "'ſ", which the library's
patterns take for "'s"; Gradus then does what the library does, with which models were trained.
"""

import random
import re
import unicodedata

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from gradus.text.gguf_tokenizer import gguf_tokenizer
from gradus.text.pieces import byte_alphabet
from tests.text import multilingual
from tests.text.corpus import CORPUS, SCRIPTS
from tests.text.gguf_files import CONTROL, NORMAL, prefixed, write_model
from tests.text.test_gguf_tokenizer import LlamaCpp

END = "<|end|>"
BYTES = sorted(byte_alphabet())
PAIRS = [(left, right) for left in BYTES for right in BYTES]
TOKENS = [END, *BYTES, *(left + right for left, right in PAIRS)]
# As the models' own tokenizer.json files have them.
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {"qwen2": QWEN2, "llama-bpe": QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)}
KINDS = (
    "abzstmdlrvSTLM0189'’\"!?.,_#$+<=>^~|(  \n\n\r\t\u00a0\u3000\u200b\u0085\u2028"
    "éßǅ\u0301你のアम१अמ²½Ⅷ👍🏽\u200d\ufe0f€№ªİ"
)


def characters():
    """Every seventh character of Unicode 3.2, whose kinds have settled."""
    assigned = [
        c for c in range(1, 0x110000) if unicodedata.ucd_3_2_0.category(chr(c)) not in ("Cn", "Cs", "Co")
    ]
    return [f"a{chr(c)}b 1{chr(c)}2 !{chr(c)} {chr(c)}{chr(c)}" for c in assigned[::7]]


def mixtures():
    source = random.Random(5)
    return ["".join(source.choices(KINDS, k=source.randint(2, 24))) for _ in range(4000)]


TEXTS = [*CORPUS, *multilingual.texts(60), *characters(), *mixtures()]


def metadata(pre):
    kinds = [CONTROL] + [NORMAL] * (len(TOKENS) - 1)
    merges = [" ".join(pair) for pair in PAIRS]
    values = {"model": "gpt2", "pre": pre, "tokens": TOKENS, "merges": merges}
    return prefixed(
        values
        | {
            "token_type": np.array(kinds, np.int32),
            "bos_token_id": 0,
            "eos_token_id": 0,
            "add_bos_token": False,
        }
    )


def by_text(ids):
    """The ids between ends."""
    found = [[]]
    for token_id in ids:
        if token_id == 0:
            found.append([])
        else:
            found[-1].append(token_id)
    return found


def chunks(texts):
    return [texts[i : i + 2000] for i in range(0, len(texts), 2000)]


@pytest.mark.parametrize("pre", ["qwen2", "llama-bpe", "default"])
def test_words_end_where_llama_cpp_ends_them(pre, tmp_path):
    values = metadata(pre)
    path = write_model(tmp_path / "model.gguf", values)
    ours, theirs = gguf_tokenizer(values, path), LlamaCpp(path)
    ours.load()
    for texts in chunks(TEXTS):
        found, expected = (by_text(t.encode(END.join(texts), False)) for t in (ours, theirs))
        for text, a, b in zip(texts, found, expected, strict=True):
            assert a == b, text


@pytest.mark.parametrize("pre", PATTERNS)
def test_words_end_where_the_model_s_own_tokenizer_ends_them(pre):
    ours = gguf_tokenizer(metadata(pre), "x")
    vocab = {token: token_id for token_id, token in enumerate(TOKENS)}
    library = Tokenizer(models.BPE(vocab, PAIRS))
    split = pre_tokenizers.Split(Regex(PATTERNS[pre]), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    newer = ["a'ſb", "a\ua7dbb", "1\U00013500\U00013501 2"]  # of which llama.cpp thinks otherwise
    for text in [*newer, *CORPUS, *mixtures()[::4]]:
        assert ours.encode(text, False) == library.encode(text, add_special_tokens=False).ids, text


def test_the_corpus_has_many_scripts():
    for script, text in SCRIPTS.items():
        letters = [char for char in text if unicodedata.category(char).startswith("L")]
        assert sum(unicodedata.name(char).startswith(script) for char in letters) > len(letters) / 3
    assert len(SCRIPTS) >= 20
    assert re.search(r"[\U0001F300-\U0001FAFF]", "".join(CORPUS))
