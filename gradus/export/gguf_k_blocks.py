"""Rows of numbers -> blocks of the types Q4_K and Q6_K: 256 elements whose groups' scales are integers.

The search for a group's scale is that of ggml's quantizers in outline: some steps around the one that the
group's ends give, each with its codes and the least squares' scale for them, weighted, and the best of all.
Source of the layouts: ggml's block structures.
"""

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Bytes = NDArray[np.uint8]

SUPER_BLOCK = 256
_LINE_STEPS = np.linspace(-0.9, 0.9, 7, dtype=np.float32)  # added to the number of codes that a group spans
_SCALE_STEPS = np.linspace(-0.9, 0.9, 7, dtype=np.float32)


def q4_k(rows: Float32) -> Bytes:
    """w = d * scale * code - dmin * minimum, in groups of 32: [super-blocks, 256] -> [super-blocks, 144]."""
    groups = rows.reshape(-1, 8, 32)
    scales, minima = _fitted_lines(groups)
    d, scale_codes = _six_bits(scales)
    dmin, minimum_codes = _six_bits(minima)
    steps = (d * scale_codes)[..., None]
    codes = np.rint((groups + (dmin * minimum_codes)[..., None]) * _inverse(steps)).clip(0, 15)
    pairs = codes.astype(np.uint8).reshape(-1, 4, 2, 32)
    packed = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(len(rows), -1)
    return np.hstack([_f16_bytes(d), _f16_bytes(dmin), _six_bit_pairs(scale_codes, minimum_codes), packed])


def q6_k(rows: Float32) -> Bytes:
    """w = d * scale * (code - 32), in groups of 16: [super-blocks, 256] -> [super-blocks, 210]."""
    groups = rows.reshape(-1, 16, 16)
    scales = _fitted_scales(groups)
    largest = np.take_along_axis(scales, np.abs(scales).argmax(axis=1)[:, None], axis=1)
    d = (largest / np.float32(-128)).astype(np.float16)
    wide = d.astype(np.float32)
    scale_codes = np.rint(scales * _inverse(wide)).clip(-128, 127)
    codes = np.rint(groups * _inverse(wide * scale_codes)[..., None]).clip(-32, 31) + 32
    runs = codes.astype(np.uint8).reshape(-1, 2, 4, 32)
    low = runs[:, :, :2] & 15 | (runs[:, :, 2:] & 15) << 4
    high = runs >> 4 << np.array([[0], [2], [4], [6]], np.uint8)
    high = np.bitwise_or.reduce(high, axis=2)
    blocks = [low, high, scale_codes.astype(np.int8).view(np.uint8), d.view(np.uint8)]
    return np.hstack([block.reshape(len(rows), -1) for block in blocks])


def _fitted_lines(groups: Float32) -> tuple[Float32, Float32]:
    """Scale and minimum, both >= 0, with w = scale * code - minimum for codes 0 .. 15: [..., groups] each."""
    weights = np.sqrt(np.mean(groups * groups, axis=-1, keepdims=True)) + np.abs(groups)
    low = np.minimum(groups.min(axis=-1), 0)
    spread = groups.max(axis=-1) - low
    scale, minimum = spread / np.float32(15), low
    best = _line_error(groups, weights, scale, minimum)
    total = weights.sum(axis=-1)
    sum_x = np.einsum("bgi,bgi->bg", weights, groups)
    for step in _LINE_STEPS:
        inverse = (np.float32(15) + step) * _inverse(spread)
        codes = np.rint((groups - low[..., None]) * inverse[..., None]).clip(0, 15)
        weighted = weights * codes
        sum_c, sum_cc = weighted.sum(axis=-1), np.einsum("bgi,bgi->bg", weighted, codes)
        sum_cx = np.einsum("bgi,bgi->bg", weighted, groups)
        new_scale = (total * sum_cx - sum_x * sum_c) * _inverse(total * sum_cc - sum_c * sum_c)
        new_minimum = (sum_cc * sum_x - sum_c * sum_cx) * _inverse(total * sum_cc - sum_c * sum_c)
        is_above = new_minimum > 0  # a line through zero then: minima are stored without a sign
        new_scale = np.where(is_above, sum_cx * _inverse(sum_cc), new_scale)
        new_minimum = np.where(is_above, np.float32(0), new_minimum)
        error = _line_error(groups, weights, new_scale, new_minimum)
        is_better = (error < best) & (new_scale > 0)
        scale, minimum = np.where(is_better, new_scale, scale), np.where(is_better, new_minimum, minimum)
        best = np.where(is_better, error, best)
    return scale, -minimum


def _line_error(groups: Float32, weights: Float32, scale: Float32, minimum: Float32) -> Float32:
    offset = minimum[..., None]
    codes = np.rint((groups - offset) * _inverse(scale)[..., None]).clip(0, 15)
    errors = codes * scale[..., None] + offset - groups
    return np.einsum("bgi,bgi,bgi->bg", weights, errors, errors)


def _fitted_scales(groups: Float32) -> Float32:
    """The scale, of either sign, with w = scale * code for codes -32 .. 31: [..., groups]."""
    weights = groups * groups
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=-1)[..., None], axis=-1)[..., 0]
    scale, best = np.zeros_like(largest), np.full_like(largest, -1)
    for step in _SCALE_STEPS:
        inverse = -(np.float32(32) + step) * _inverse(largest)
        codes = np.rint(groups * inverse[..., None]).clip(-32, 31)
        weighted = weights * codes
        sum_cx = np.einsum("bgi,bgi->bg", weighted, groups)
        sum_cc = np.einsum("bgi,bgi->bg", weighted, codes)
        gain = sum_cx * sum_cx * _inverse(sum_cc)  # what the least squares' scale takes off the error
        is_better = gain > best
        scale = np.where(is_better, sum_cx * _inverse(sum_cc), scale)
        best = np.where(is_better, gain, best)
    return scale


def _six_bits(values: Float32) -> tuple[Float32, Float32]:
    """A factor, as f16 rounds it, and codes 0 .. 63 for a super-block's values: [..., 1], [..., 8]."""
    factor = (values.max(axis=1, keepdims=True) / np.float32(63)).astype(np.float16).astype(np.float32)
    return factor, np.rint(values * _inverse(factor)).clip(0, 63)


def _six_bit_pairs(scales: Float32, minima: Float32) -> Bytes:
    """The inverse of the reader's function of this name."""
    s, m = scales.astype(np.uint8), minima.astype(np.uint8)
    first = s[:, :4] | s[:, 4:] >> 4 << 6
    second = m[:, :4] | m[:, 4:] >> 4 << 6
    return np.hstack([first, second, s[:, 4:] & 15 | (m[:, 4:] & 15) << 4])


def _f16_bytes(values: Float32) -> Bytes:
    return values.astype(np.float16).view(np.uint8)


def _inverse(values: Float32) -> Float32:
    return np.divide(np.float32(1), values, out=np.zeros_like(values), where=values != 0)
