"""GGUF files for tests, written by others: by llama.cpp's `gguf` package, or byte by byte."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

UINT32, FLOAT32, STRING, ARRAY, UINT64 = 4, 6, 8, 9, 10

SHAPE = {"layers": 2, "hidden": 64, "ffn": 96, "heads": 4, "kv_heads": 2, "head_dim": 32, "vocab": 40}
"""Of `write_model`; every row is whole blocks of 32."""


def string(text: str | bytes) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(encoded)) + encoded


def entry(key: str, kind: int, payload: bytes) -> bytes:
    """A metadata entry."""
    return string(key) + struct.pack("<I", kind) + payload


def text_entry(key: str, text: str) -> bytes:
    return entry(key, STRING, string(text))


def tensor(
    name: str, dims: Sequence[int], kind: int = 0, offset: int = 0, num_dims: int | None = None
) -> bytes:
    """A line of the table; `dims` as ggml has them, the row's first."""
    count = len(dims) if num_dims is None else num_dims
    return string(name) + struct.pack(f"<I{len(dims)}QIQ", count, *dims, kind, offset)


def file_bytes(
    entries: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    num_tensors: int | None = None,
    num_entries: int | None = None,
    alignment: int = 32,
) -> bytes:
    """A whole file; the counts can lie."""
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(entries) if num_entries is None else num_entries,
    )
    header = b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join([*entries, *tensors])
    return header + bytes(-len(header) % alignment) + data


def tensor_shapes(architecture: str, tied: bool) -> dict[str, tuple[int, ...]]:
    """GGUF's names, and shapes as in NumPy."""
    s = SHAPE
    q, kv = s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (s["vocab"], s["hidden"]),
        "output_norm.weight": (s["hidden"],),
    }
    if not tied:
        shapes["output.weight"] = (s["vocab"], s["hidden"])
    for i in range(s["layers"]):
        layer = {
            "attn_norm.weight": (s["hidden"],),
            "attn_q.weight": (q, s["hidden"]),
            "attn_k.weight": (kv, s["hidden"]),
            "attn_v.weight": (kv, s["hidden"]),
            "attn_output.weight": (s["hidden"], q),
            "ffn_norm.weight": (s["hidden"],),
            "ffn_gate.weight": (s["ffn"], s["hidden"]),
            "ffn_up.weight": (s["ffn"], s["hidden"]),
            "ffn_down.weight": (s["hidden"], s["ffn"]),
        }
        if architecture == "qwen3":
            layer |= {"attn_q_norm.weight": (s["head_dim"],), "attn_k_norm.weight": (s["head_dim"],)}
        if architecture == "qwen2":
            layer |= {"attn_q.bias": (q,), "attn_k.bias": (kv,), "attn_v.bias": (kv,)}
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    return shapes


def write_model(
    path: Path,
    architecture: str = "qwen3",
    types: Mapping[str, str] | None = None,
    *,
    tied: bool = True,
    extra: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    split_max_tensors: int = 0,
    without: Sequence[str] = (),
) -> Path:
    """A small random model by the `gguf` package's writer.

    types: tensor -> its type; F32 for all others. extra: metadata to add (ints as uint32, floats as float32).
    tensors: more of them. without: keys and tensors to leave out. Split files are called PATH's name with
    -00001-of-0000N.
    """
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split_max_tensors)
    s = SHAPE
    metadata = {
        f"{architecture}.context_length": 128,
        f"{architecture}.embedding_length": s["hidden"],
        f"{architecture}.block_count": s["layers"],
        f"{architecture}.feed_forward_length": s["ffn"],
        f"{architecture}.attention.head_count": s["heads"],
        f"{architecture}.attention.head_count_kv": s["kv_heads"],
        f"{architecture}.attention.key_length": s["head_dim"],
        f"{architecture}.attention.value_length": s["head_dim"],
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-6,
        f"{architecture}.rope.freq_base": 10_000.0,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [f"token{i}" for i in range(s["vocab"])],
    } | dict(extra or {})
    for key, value in metadata.items():
        if key not in without:
            _add(writer, key, value)
    for name, shape in tensor_shapes(architecture, tied).items():
        if name not in without:
            values = random.normal(1.0 if "norm" in name else 0.0, 0.3, shape).astype(np.float32)
            kind = gguf.GGMLQuantizationType[(types or {}).get(name, "F32")]
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    for name, array in (tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
