"""GGUF's block formats: blocks of bytes -> codes, scales and minima, or values.

Three families. Those that Gradus's own formats hold exactly give codes (Q4_0: int4_symmetric; Q4_1, Q4_K:
int4; Q5_0, Q8_0: int8). The others (Q5_1, Q2_K, Q3_K, Q5_K, Q6_K) give values, which `repack` rounds to int8.
Every value is computed in f32 as ggml's reference code does, so that it has the same bits.

Source of the layouts: ggml's block structures. Blocks of the K types have 256 elements, the others 32.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gradus.quantization.recipe import Width

Bytes = NDArray[np.uint8]
Float32 = NDArray[np.float32]

GROUP = 32

Groups = tuple[NDArray[np.uint8] | NDArray[np.int8], Float32, Float32 | None]
"""Codes [blocks, block_size], scales and, of int4, minima, [blocks, block_size / 32] each:
w = scale * code + minimum; w = scale * (code - 8) in int4_symmetric."""


def _q4_0(blocks: Bytes) -> Groups:
    """w = d * (code - 8)."""
    return _nibbles(blocks[:, 2:], GROUP // 2), _halves(blocks, 0, 1), None


def _q4_1(blocks: Bytes) -> Groups:
    """w = d * code + m."""
    return _nibbles(blocks[:, 4:], GROUP // 2), _halves(blocks, 0, 1), _halves(blocks, 2, 1)


def _q5_0(blocks: Bytes) -> Groups:
    """w = d * (code - 16)."""
    codes = _nibbles(blocks[:, 6:], GROUP // 2) | _fifth_bits(blocks[:, 2:6])
    return codes.view(np.int8) - np.int8(16), _halves(blocks, 0, 1), None


def _q8_0(blocks: Bytes) -> Groups:
    """w = d * code."""
    return np.ascontiguousarray(blocks[:, 2:]).view(np.int8), _halves(blocks, 0, 1), None


def _q4_k(blocks: Bytes) -> Groups:
    """w = d * scale * code - dmin * minimum, with 6-bit integers for each group of 32."""
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    codes = _nibbles(blocks[:, 16:], GROUP)
    return codes, _halves(blocks, 0, 1) * scales, -(_halves(blocks, 2, 1) * minima)


def _q5_1(blocks: Bytes) -> Float32:
    """w = d * code + m."""
    codes = _nibbles(blocks[:, 8:], GROUP // 2) | _fifth_bits(blocks[:, 4:8])
    return _halves(blocks, 0, 1) * codes + _halves(blocks, 2, 1)


def _q2_k(blocks: Bytes) -> Float32:
    """w = d * scale * code - dmin * minimum, with 4-bit integers for each group of 16."""
    packed = blocks[:, :16].astype(np.float32)
    minima, scales = np.floor_divide(packed, 16), np.mod(packed, 16)
    values = _crumbs(blocks[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    values *= (_halves(blocks, 80, 1) * scales)[..., None]
    values -= (_halves(blocks, 82, 1) * minima)[..., None]
    return values.reshape(len(blocks), -1)


def _q3_k(blocks: Bytes) -> Float32:
    """w = d * (scale - 32) * (code - 4), scales of 6 bits for each group of 16."""
    high = np.unpackbits(blocks[:, :32, None], axis=2, bitorder="little")  # [blocks, 32, 8]: bit of 8 rows
    codes = _crumbs(blocks[:, 32:96]) | high.swapaxes(1, 2).reshape(len(blocks), -1) << 2
    low = _nibbles(blocks[:, 96:104], 8)
    top = blocks[:, 104:108, None] >> np.array([0, 2, 4, 6], np.uint8) & 3  # [blocks, 4, 4]
    scales = low | top.swapaxes(1, 2).reshape(len(blocks), -1) << 4
    factors = _halves(blocks, 108, 1) * (scales.astype(np.float32) - 32)
    values = codes.reshape(-1, 16, 16).astype(np.float32) - 4
    values *= factors[..., None]
    return values.reshape(len(blocks), -1)


def _q5_k(blocks: Bytes) -> Float32:
    """As Q4_K, with a fifth bit."""
    scales, minima = _six_bit_pairs(blocks[:, 4:16])
    high = np.unpackbits(blocks[:, 16:48, None], axis=2, bitorder="little")  # bit g: group g
    codes = _nibbles(blocks[:, 48:], GROUP) | high.swapaxes(1, 2).reshape(len(blocks), -1) << 4
    values = codes.reshape(-1, 8, GROUP).astype(np.float32)
    values *= (_halves(blocks, 0, 1) * scales)[..., None]
    values -= (_halves(blocks, 2, 1) * minima)[..., None]
    return values.reshape(len(blocks), -1)


def _q6_k(blocks: Bytes) -> Float32:
    """w = d * scale * (code - 32), scales of 8 bits for each group of 16."""
    low = _nibbles(blocks[:, :128], 64)
    codes = low | _crumbs(blocks[:, 128:192]) << 4
    factors = _halves(blocks, 208, 1) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    values = (codes.view(np.int8) - np.int8(32)).reshape(-1, 16, 16).astype(np.float32)
    values *= factors[..., None]
    return values.reshape(len(blocks), -1)


GROUPED: dict[str, tuple[Width, Callable[[Bytes], Groups]]] = {
    "Q4_0": ("int4_symmetric", _q4_0),
    "Q4_1": ("int4", _q4_1),
    "Q4_K": ("int4", _q4_k),
    "Q5_0": ("int8", _q5_0),
    "Q8_0": ("int8", _q8_0),
}
"""Type -> the width that holds it, and its codes."""

VALUES: dict[str, Callable[[Bytes], Float32]] = {
    "Q5_1": _q5_1,
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}
"""Type -> its values, [blocks, block_size] f32."""


def _halves(blocks: Bytes, offset: int, count: int) -> Float32:
    """`count` numbers of 16 bits at `offset` in each block, [blocks, count]."""
    columns = np.ascontiguousarray(blocks[:, offset : offset + 2 * count])
    return columns.view("<f2").astype(np.float32)


def _nibbles(packed: Bytes, run: int) -> Bytes:
    """Of each run of bytes first the low halves, then the high ones: [blocks, 2 * bytes]."""
    runs = packed.reshape(len(packed), -1, 1, run)
    return (runs >> np.array([[0], [4]], np.uint8) & np.uint8(15)).reshape(len(packed), -1)


def _crumbs(packed: Bytes) -> Bytes:
    """Codes of 2 bits: of each run of 32 bytes first all lowest, then the next: [blocks, 4 * bytes]."""
    runs = packed.reshape(len(packed), -1, 1, 32)
    shifts = np.array([[0], [2], [4], [6]], np.uint8)
    return (runs >> shifts & np.uint8(3)).reshape(len(packed), -1)


def _fifth_bits(packed: Bytes) -> Bytes:
    """Bit j of 32 as the 16 of code j, [blocks, 32]."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _six_bit_pairs(packed: Bytes) -> tuple[Float32, Float32]:
    """Eight scales and eight minima of 6 bits in 12 bytes.

    Bytes 0 to 3 are scales 0 to 3 and 4 to 7 minima 0 to 3, with the high pairs of bits of scales and minima
    4 to 7 above them; bytes 8 to 11 are the latter's low halves, minima above scales.
    """
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.hstack([first & 63, third & 15 | first >> 6 << 4])
    minima = np.hstack([second & 63, third >> 4 | second >> 6 << 4])
    return scales.astype(np.float32), minima.astype(np.float32)
