"""A tensor's blocks -> its values, or a matrix in Gradus's own quantized formats.

Types whose codes fit into int4 or int8 keep them, and lose at most what f16 does to scales and centres; the
others are rounded to int8. docs/gguf.md says what that costs. Works in chunks of rows, in several threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.blocks import GROUP, GROUPED, VALUES, Bytes, Float32
from gradus.models.checkpoint.gguf.types import TensorType
from gradus.quantization.recipe import Width
from gradus.quantization.rtn import Float16, QuantizedMatrix, quantize

LARGEST = 65504.0  # of f16, in which scales and centres are kept
_CHUNK = 1 << 18  # elements worked on at a time

Rows = NDArray[np.int64] | None
"""Which row of the file stands where; None: as in the file."""


def stored_width(tensor_type: TensorType) -> Width | None:
    """The width that a type is repacked to; None for those that are plain numbers."""
    if tensor_type.name in VALUES:
        return "int8"
    return GROUPED[tensor_type.name][0] if tensor_type.name in GROUPED else None


def dequantize(blocks: Bytes, tensor_type: TensorType, order: Rows, where: str) -> Float32:
    """Values of a matrix of blocks, [rows, bytes of a row]: [rows, inputs] f32.

    Raises:
        CheckpointError: a value is not finite, or beyond the range of f16.
    """
    values = np.empty((len(blocks), _num_inputs(blocks, tensor_type)), np.float32)

    def work(rows: slice) -> None:
        values[rows] = _values(_chosen(blocks, rows, order), tensor_type)
        _check_range(np.abs(values[rows]).max(), where)

    _in_chunks(work, *values.shape, num_threads=1)
    return values


def repack(
    blocks: Bytes, tensor_type: TensorType, order: Rows, where: str, num_threads: int = 1
) -> QuantizedMatrix:
    """A matrix of blocks, [rows, bytes of a row], in the format of `stored_width`.

    Raises:
        CheckpointError: a value is not finite, or beyond the range of f16.
    """
    shape = len(blocks), _num_inputs(blocks, tensor_type)
    width = stored_width(tensor_type)
    codes: NDArray[Any] = np.empty(shape, np.int8 if width == "int8" else np.uint8)
    scales = np.empty((shape[0], shape[1] // GROUP), np.float16)
    centres = np.empty_like(scales) if width == "int4" else None

    def work(rows: slice) -> None:
        found = _matrix(_chosen(blocks, rows, order), tensor_type, where)
        codes[rows] = found.codes
        scales[rows] = found.scales
        if centres is not None:
            centres[rows] = found.centres

    _in_chunks(work, *shape, num_threads=num_threads)
    return QuantizedMatrix(codes, scales, centres, shape[1])


def _matrix(blocks: Bytes, tensor_type: TensorType, where: str) -> QuantizedMatrix:
    """Some rows."""
    inputs = _num_inputs(blocks, tensor_type)
    if tensor_type.name in VALUES:
        values = _values(blocks, tensor_type)
        _check_range(np.abs(values).max(), where)
        return quantize(values, "int8")
    codes, scales, minima = GROUPED[tensor_type.name][1](_flat(blocks, tensor_type))
    groups = codes.view(np.uint8).reshape(len(blocks), -1, GROUP)
    scales = scales.reshape(groups.shape[:2])
    if minima is None:
        _check_range(128 * np.abs(scales).max(), where)
        return QuantizedMatrix(codes.reshape(-1, inputs), scales.astype(np.float16), None, inputs)
    minima = minima.reshape(groups.shape[:2])
    _check_range(max(15 * np.abs(scales).max(), np.abs(minima).max()) * 1.1, where)
    groups, halves, centres = centred(groups, scales, minima)
    return QuantizedMatrix(groups.reshape(-1, inputs), halves, centres, inputs)


def centred(codes: Bytes, scales: Float32, minima: Float32) -> tuple[Bytes, Float16, Float16]:
    """w = scale * code + minimum as w = scale * (code - 8) + centre with scales and centres in f16.

    codes: [rows, groups, 32]; scales, minima: [rows, groups]. Nothing is lost where nothing needs rounding.
    """
    fit = _fit(scales, minima, scales.astype(np.float16), np.float32(0), np.float32(15))
    largest = np.maximum(np.abs(minima), np.abs(minima + 15 * scales))
    rare = np.nonzero(fit.error > _NEAR_AIM * largest)
    if rare[0].size:  # look at the codes that there are, and at the next scale
        low, high = codes[rare].min(axis=-1), codes[rare].max(axis=-1)
        ends = scales[rare], minima[rare]
        nearest = fit.halves[rare]
        next_one = np.nextafter(nearest, np.where(nearest < ends[0], np.inf, -np.inf).astype(np.float16))
        best = _better(_fit(*ends, nearest, low, high), _fit(*ends, next_one, low, high))
        for kept, found in _fields(fit, best):
            kept[rare] = found
    codes = codes ^ np.where(fit.is_turned, np.uint8(15), np.uint8(0))[..., None]  # 15 - code
    return codes, np.where(fit.is_turned, -fit.halves, fit.halves), fit.centres


_NEAR_AIM = np.float32(0.8 * 2**-11)  # of what the largest weight would be; codes 0 or 15 may be missing


class _Fit(NamedTuple):
    """Scales and centres in f16, whether codes count from the other end, and the largest error."""

    halves: Float16
    centres: Float16
    is_turned: NDArray[np.bool_]
    error: Float32


def _fit(scales: Float32, minima: Float32, halves: Float16, low: Any, high: Any) -> _Fit:
    """The centres that go with these f16 scales, for codes from `low` to `high`.

    What rounding a scale adds grows with the code's distance from the centre, so the centre takes up what
    makes both ends alike. Counting codes from the other end makes code 7 the centre: the better is taken.
    """
    shift = halves.astype(np.float32) - scales

    def around(middle: np.float32, is_turned: bool) -> _Fit:
        exact = minima + middle * scales
        centres = (exact - shift * ((low + high) / np.float32(2) - middle)).astype(np.float16)
        moved = centres.astype(np.float32) - exact
        error = np.maximum(np.abs(moved + shift * (low - middle)), np.abs(moved + shift * (high - middle)))
        return _Fit(halves, centres, np.full(scales.shape, is_turned), error)

    return _better(around(np.float32(8), False), around(np.float32(7), True))


def _better(first: _Fit, second: _Fit) -> _Fit:
    is_second = second.error < first.error
    return _Fit(*(np.where(is_second, b, a) for a, b in _fields(first, second)))


def _fields(first: _Fit, second: _Fit) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    return zip(first, second, strict=True)


def _values(blocks: Bytes, tensor_type: TensorType) -> Float32:
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at what came of it
        if tensor_type.name in VALUES:
            return VALUES[tensor_type.name](_flat(blocks, tensor_type)).reshape(len(blocks), -1)
        codes, scales, minima = GROUPED[tensor_type.name][1](_flat(blocks, tensor_type))
        groups = codes.reshape(-1, GROUP).astype(np.float32)
        if minima is None and codes.dtype == np.uint8:
            groups -= 8
        groups *= scales.reshape(-1, 1)
        if minima is not None:
            groups += minima.reshape(-1, 1)
        return groups.reshape(len(blocks), -1)


def _in_chunks(work: Callable[[slice], None], num_rows: int, inputs: int, num_threads: int) -> None:
    step = max(1, _CHUNK // inputs)
    pieces = [slice(row, min(row + step, num_rows)) for row in range(0, num_rows, step)]
    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(work, pieces))  # a list, so that errors come out


def _chosen(blocks: Bytes, rows: slice, order: Rows) -> Bytes:
    return blocks[rows] if order is None else blocks[order[rows]]


def _flat(blocks: Bytes, tensor_type: TensorType) -> Bytes:
    """One block a row."""
    return blocks.reshape(-1, tensor_type.block_bytes)


def _num_inputs(blocks: Bytes, tensor_type: TensorType) -> int:
    return blocks.shape[1] // tensor_type.block_bytes * tensor_type.block_size


def _check_range(largest: float, where: str) -> None:
    if not largest <= LARGEST:
        raise CheckpointError(f"{where} has values up to {largest:g}; weights are read up to {LARGEST:,.0f}")
