"""Round to nearest: matrices in groups along their input, with 16-bit scales, and centres in int4.

    int8:           w = scale * code                  code in -127 .. 127, scale = max |w| / 127
    int4:           w = scale * (code - 8) + centre   code in 0 .. 15, scale and centre fitted to the group
    int4_symmetric: w = scale * (code - 8)            code in 0 .. 15, scale fitted to the group
    int4_g128:      the same in groups of 128; the others' have 32

The centre, the value of code 8, lies among the group's weights, so that rounding it to 16 bits costs less
than rounding the value of code 0 would.

The one definition of what a quantized weight is: the torch backend multiplies by these values, and the native
backend's own code (csrc/kernels/quantize_weights.cpp) packs the same codes. Knows arrays; knows nothing of
files or backends.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradus.quantization.recipe import Width

GROUP_SIZES: dict[str, int] = {"int8": 32, "int4": 32, "int4_symmetric": 32, "int4_g128": 128}
_CHUNK = 1 << 16  # elements worked on at a time: what the arithmetic keeps in the cache
_LARGEST_F16 = 65504.0

Float32 = NDArray[np.float32]
Float16 = NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class QuantizedMatrix:
    """A matrix [outputs, inputs] in groups; inputs missing in the last group have the code 0.

    Attributes:
        codes: [outputs, groups * group size], int8 for int8 and uint8 for 4 bits.
        scales: [outputs, groups].
        centres: [outputs, groups], of int4 only.
        inputs: columns that are the matrix's.
    """

    codes: NDArray[np.int8] | NDArray[np.uint8]
    scales: Float16
    centres: Float16 | None
    inputs: int

    def dequantize(self) -> Float32:
        """The values, [outputs, inputs]; products are exact in f32, sums are rounded once."""
        groups = self.codes.reshape(*self.scales.shape, -1).astype(np.float32)
        if self.codes.dtype == np.uint8:
            groups -= 8
        groups *= self.scales.astype(np.float32)[..., None]
        if self.centres is not None:
            groups += self.centres.astype(np.float32)[..., None]
        return groups.reshape(len(groups), -1)[:, : self.inputs]


def quantize(matrix: Float32, width: Width, num_threads: int = 1) -> QuantizedMatrix:
    """Quantize a matrix, [outputs, inputs] f32 without NaN or infinity."""
    outputs, inputs = matrix.shape
    size = GROUP_SIZES[width]
    num_groups = -(-inputs // size)
    codes = np.empty((outputs, num_groups * size), np.int8 if width == "int8" else np.uint8)
    scales = np.empty((outputs, num_groups), np.float16)
    centres = np.empty((outputs, num_groups), np.float16) if width == "int4" else None

    def work(rows: slice) -> None:
        groups = _grouped(matrix[rows], size, "edge" if width == "int4" else "constant")
        if width == "int8":
            found, scales[rows] = _int8(groups)
            codes[rows] = found.reshape(len(found), -1)
        else:
            nibbles, scales[rows], lines = _nibbles(groups, is_symmetric=centres is None)
            codes[rows] = nibbles.reshape(len(nibbles), -1)
            if centres is not None:
                centres[rows] = lines

    step = max(1, _CHUNK // codes.shape[1])
    pieces = [slice(row, row + step) for row in range(0, outputs, step)]
    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(work, pieces))  # a list, so that errors come out
    codes[:, inputs:] = 0
    return QuantizedMatrix(codes, scales, centres, inputs)


def _grouped(rows: Float32, size: int, fill: Literal["edge", "constant"]) -> Float32:
    """[rows, groups, size]; the last group is filled with its last value, which changes neither end of it, or
    with zeros, which change no line through zero.
    """
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % size)), mode=fill)
    return rows.reshape(len(rows), -1, size)


def _int8(groups: Float32) -> tuple[NDArray[np.int8], Float16]:
    scales = _f16(np.abs(groups).max(axis=-1) / np.float32(127))
    codes = np.rint(groups * _inverse(scales)[..., None])
    return np.clip(codes, -127, 127, out=codes).astype(np.int8), scales


def _nibbles(groups: Float32, is_symmetric: bool) -> tuple[NDArray[np.uint8], Float16, Float16]:
    """Codes, scales, and centres, which are 0 where `is_symmetric`.

    Starts with the line through the ends, or through 0 and the end that is further from it; then rounds to
    codes and fits a line to them, in turns.
    """
    low, high = groups.min(axis=-1), groups.max(axis=-1)
    low += np.float32(0)  # the sign of a zero is chance: it is positive from here on
    if is_symmetric:
        scale = np.where(high > -low, high, low) / np.float32(-8) + np.float32(0)  # no -0
        best = current = _rounded(groups, scale, np.zeros_like(scale))
    else:
        scale = (high - low) / np.float32(15)
        best = current = _rounded(groups, scale, low + scale * np.float32(8))
    for _ in range(_FITS):
        codes, scales, centres, _ = current
        if is_symmetric:
            line = _fitted_scale(groups, codes, scales), np.zeros_like(scale)
        else:
            line = _fitted_line(groups, codes, scales, centres)
        current = _rounded(groups, *line)
        is_better = current[3] < best[3]
        for kept, new in zip(best, current, strict=True):
            kept[is_better] = new[is_better]
    codes, scales, centres, _ = best
    return (codes + 8).astype(np.uint8), scales, centres


_FITS = 3


def _rounded(
    groups: Float32, scale: Float32, centre: Float32
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Codes less 8, 16-bit scales and centres, and each group's squared error with them."""
    scales, centres = _f16(scale), _f16(centre)
    wide_centres = centres.astype(np.float32)[..., None]
    codes = np.rint((groups - wide_centres) * _inverse(scales)[..., None])
    np.clip(codes, -8, 7, out=codes)
    errors = codes * scales.astype(np.float32)[..., None]
    errors += wide_centres
    errors -= groups
    return codes, scales, centres, _sum(errors * errors)


def _fitted_line(
    groups: Float32, codes: Float32, scales: Float16, centres: Float16
) -> tuple[Float32, Float32]:
    """The least squares' scale and centre for these codes; the old ones where all codes are the same."""
    n = np.float32(groups.shape[-1])
    mean_code, mean = _sum(codes) / n, _sum(groups) / n
    variance = _sum(codes * codes) / n - mean_code * mean_code
    covariance = _sum(codes * groups) / n - mean_code * mean
    is_line = variance > 1e-3
    scale = np.where(is_line, covariance / np.where(is_line, variance, 1), scales.astype(np.float32))
    centre = np.where(is_line, mean - scale * mean_code, centres.astype(np.float32))
    return scale.astype(np.float32), centre.astype(np.float32)


def _fitted_scale(groups: Float32, codes: Float32, scales: Float16) -> Float32:
    """The least squares' scale of a line through 0 for these codes; the old one where all codes are 0."""
    squares = _sum(codes * codes)
    is_line = squares > 0
    found = _sum(codes * groups) / np.where(is_line, squares, 1)
    return np.where(is_line, found, scales.astype(np.float32)).astype(np.float32)


def _sum(groups: Float32) -> Float32:
    """Of each group, in order: NumPy's own order depends on the machine, and C++ is to find the same."""
    total = np.zeros(groups.shape[:-1], np.float32)
    for i in range(groups.shape[-1]):
        total += groups[..., i]
    return total


def _f16(values: Float32) -> Float16:
    return np.clip(values, -_LARGEST_F16, _LARGEST_F16).astype(np.float16)


def _inverse(scales: Float16) -> Float32:
    wide = scales.astype(np.float32)
    return np.divide(np.float32(1), wide, out=np.zeros_like(wide), where=wide != 0)
