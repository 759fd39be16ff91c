"""Rows of numbers -> the blocks of GGUF's tensor types, rounded as ggml's reference code rounds.

Source of the layouts: ggml's block structures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_GROUP = 32


def encode(rows: Float32, type_name: str) -> NDArray[Any]:
    """Rows, [num_rows, inputs] f32, in a type whose block size divides `inputs`; [num_rows, any] of bytes.

    Values that a type cannot hold become infinite, in F16 and in the scales of blocks.
    """
    if type_name == "F32":
        return rows
    with np.errstate(over="ignore"):
        if type_name == "F16":
            return rows.astype(np.float16)
        if type_name == "BF16":
            return _bf16(rows)
        return _ENCODERS[type_name](rows.reshape(-1, _GROUP)).reshape(len(rows), -1)


def _bf16(rows: Float32) -> NDArray[np.uint16]:
    """To nearest, ties to even."""
    bits = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def _q8_0(blocks: Float32) -> Bytes:
    """w = scale * code, code in -127 .. 127: f16 scale, 32 codes."""
    scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    codes = _rounded(blocks * _inverse(scales)).astype(np.int8)
    return np.hstack([_f16_bytes(scales), codes.view(np.uint8)])


def _q4_0(blocks: Float32) -> Bytes:
    """w = scale * (code - 8), code in 0 .. 15: f16 scale, codes j and j + 16 in one byte."""
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scales = largest / np.float32(-8)
    codes = np.trunc(blocks * _inverse(scales) + np.float32(8.5)).clip(0, 15).astype(np.uint8)
    return np.hstack([_f16_bytes(scales), codes[:, :16] | codes[:, 16:] << 4])


_ENCODERS: dict[str, Callable[[Float32], Bytes]] = {"Q8_0": _q8_0, "Q4_0": _q4_0}


def _f16_bytes(values: Float32) -> Bytes:
    return values.astype(np.float16).view(np.uint8)


def _inverse(values: Float32) -> Float32:
    return np.divide(np.float32(1), values, out=np.zeros_like(values), where=values != 0)


def _rounded(values: Float32) -> Float32:
    """To the nearest integer, halves away from zero, as C's roundf."""
    floors = np.floor(np.abs(values))
    return np.copysign(floors + np.floor(2 * (np.abs(values) - floors)), values)
