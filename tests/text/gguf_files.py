"""Vocabularies as GGUF metadata, and files with them that llama.cpp can load: a model of one tiny layer."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.text import toy_tokenizers

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_WIDTH = 32
# Any two of these bytes, as GPT-2 writes them, merge: where words end shows in the ids.
_TELLING = "0123456789'.,!?()$+<=>^~|-_@#astlSé" + "ĠĊčĉ" + "ÂÃÌä½ł²ģ"


def byte_level_metadata(pre: str | None = "qwen2", **changes: Any) -> dict[str, Any]:
    """Byte-level BPE with tokens of every kind. Keys of `changes` lack their common prefix."""
    built = json.loads(toy_tokenizers.byte_level_json(900))
    tokens = {token_id: token for token, token_id in built["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, NORMAL)
    for added in built["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    for i in range(3):
        kinds[len(tokens)] = UNUSED
        tokens[len(tokens)] = f"[PAD{i}]"
    texts = [tokens[i] for i in range(len(tokens))]
    pairs = [(left, right) for left in _TELLING for right in _TELLING if left + right not in texts]
    values = {
        "model": "gpt2",
        "pre": pre,
        "tokens": texts + [left + right for left, right in pairs],
        "token_type": np.array([kinds[i] for i in range(len(tokens))] + [NORMAL] * len(pairs), np.int32),
        "merges": [" ".join(merge) for merge in [*built["model"]["merges"], *pairs]],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "padding_token_id": 0,
    }
    return prefixed(values | changes)


def sentencepiece_metadata(*, tied: bool = False, **changes: Any) -> dict[str, Any]:
    """Llama 2's shape; with `tied` there are only three scores, else all differ, as training writes them."""
    built = json.loads(toy_tokenizers.sentencepiece_json())
    vocab = built["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    more = ["▁▁", "▁▁▁", "▁▁▁▁", "▁\n", "<|im_start|>", "<|im_end|>", "user defined"]
    tokens += [token for token in more if token not in vocab]
    kinds = [BYTE if token.startswith("<0x") else NORMAL for token in tokens]
    for token in ("<s>", "</s>", "<|im_start|>", "<|im_end|>"):
        kinds[tokens.index(token)] = CONTROL
    kinds[tokens.index("<unk>")], kinds[tokens.index("user defined")] = UNKNOWN, USER_DEFINED
    scores = [-float(i % 3 if tied else i) for i in range(len(tokens))]
    defaults = {
        "model": "llama",
        "tokens": tokens,
        "token_type": np.array(kinds, np.int32),
        "scores": np.array(scores, np.float32),
        "bos_token_id": tokens.index("<s>"),
        "eos_token_id": tokens.index("</s>"),
        "unknown_token_id": tokens.index("<unk>"),
    }
    return prefixed(defaults | changes)


def prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"tokenizer.ggml.{key}": value for key, value in values.items() if value is not None}


def write_model(path: Path, metadata: Mapping[str, Any]) -> Path:
    """A llama of one layer with random weights around the vocabulary."""
    num_tokens = len(metadata["tokenizer.ggml.tokens"])
    header = {
        "general.architecture": "llama",
        "llama.block_count": 1,
        "llama.context_length": 4096,
        "llama.embedding_length": _WIDTH,
        "llama.feed_forward_length": _WIDTH,
        "llama.attention.head_count": 1,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
    }
    names = ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"]
    names += ["ffn_norm", "ffn_gate", "ffn_up", "ffn_down"]
    shapes = {f"blk.0.{name}.weight": (_WIDTH,) if "norm" in name else (_WIDTH, _WIDTH) for name in names}
    shapes |= {"token_embd.weight": (num_tokens, _WIDTH), "output_norm.weight": (_WIDTH,)}
    source = np.random.default_rng(0)
    arrays = {name: source.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    path.write_bytes(_gguf({**header, **metadata}, arrays))
    return path


def _gguf(metadata: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(arrays), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _value(value)]
    offset = 0
    for name, array in arrays.items():
        shape = array.shape[::-1]
        parts += [
            _string(name),
            struct.pack(f"<I{len(shape)}Q", len(shape), *shape),
            struct.pack("<IQ", 0, offset),
        ]
        offset += array.nbytes  # a multiple of 32, the alignment
    head = b"".join(parts)
    return head + bytes(-len(head) % 32) + b"".join(array.tobytes() for array in arrays.values())


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, np.ndarray):
        kind = _INT32 if value.dtype == np.int32 else _FLOAT32
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + value.tobytes()
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_string, value))
