"""Rows of numbers -> the blocks of GGUF's tensor types, rounded as ggml's reference code rounds.

Source of the layouts: ggml's block structures.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.export.gguf_k_blocks import q4_k, q6_k
from gradus.models.checkpoint.gguf.types import TYPE_BY_NAME

Float32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]


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
        block_size = TYPE_BY_NAME[type_name].block_size
        return _ENCODERS[type_name](rows.reshape(-1, block_size)).reshape(len(rows), -1)


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
    scales, codes = _centred(blocks, 8)
    return np.hstack([_f16_bytes(scales), _nibbles(codes)])


def _q4_1(blocks: Float32) -> Bytes:
    """w = scale * code + minimum, code in 0 .. 15: both f16, codes as in Q4_0."""
    scales, minima, codes = _spanned(blocks, 15)
    return np.hstack([_f16_bytes(scales), _f16_bytes(minima), _nibbles(codes)])


def _q5_0(blocks: Float32) -> Bytes:
    """As Q4_0 with code - 16 in 0 .. 31, the fifth bits after the scale."""
    scales, codes = _centred(blocks, 16)
    return np.hstack([_f16_bytes(scales), _fifth_bits(codes), _nibbles(codes)])


def _q5_1(blocks: Float32) -> Bytes:
    """As Q4_1 with codes in 0 .. 31, the fifth bits after the minimum."""
    scales, minima, codes = _spanned(blocks, 31)
    return np.hstack([_f16_bytes(scales), _f16_bytes(minima), _fifth_bits(codes), _nibbles(codes)])


_ENCODERS: dict[str, Callable[[Float32], Bytes]] = {
    "Q8_0": _q8_0,
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q4_K": q4_k,
    "Q6_K": q6_k,
}


def _centred(blocks: Float32, half: int) -> tuple[Float32, Bytes]:
    """Scales so that the value of largest magnitude has the code 0; codes 0 .. 2 * half - 1."""
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scales = largest / np.float32(-half)
    codes = np.trunc(blocks * _inverse(scales) + np.float32(half + 0.5)).clip(0, 2 * half - 1)
    return scales, codes.astype(np.uint8)


def _spanned(blocks: Float32, largest_code: int) -> tuple[Float32, Float32, Bytes]:
    """Scales and minima so that the codes 0 and `largest_code` are a block's ends."""
    minima = blocks.min(axis=1, keepdims=True)
    scales = (blocks.max(axis=1, keepdims=True) - minima) / np.float32(largest_code)
    codes = np.trunc((blocks - minima) * _inverse(scales) + np.float32(0.5)).clip(0, largest_code)
    return scales, minima, codes.astype(np.uint8)


def _nibbles(codes: Bytes) -> Bytes:
    return codes[:, :16] & np.uint8(15) | (codes[:, 16:] & np.uint8(15)) << np.uint8(4)


def _fifth_bits(codes: Bytes) -> Bytes:
    return np.packbits(codes >> 4, axis=1, bitorder="little")


def _f16_bytes(values: Float32) -> Bytes:
    return values.astype(np.float16).view(np.uint8)


def _inverse(values: Float32) -> Float32:
    return np.divide(np.float32(1), values, out=np.zeros_like(values), where=values != 0)


def _rounded(values: Float32) -> Float32:
    """To the nearest integer, halves away from zero, as C's roundf."""
    floors = np.floor(np.abs(values))
    return np.copysign(floors + np.floor(2 * (np.abs(values) - floors)), values)
