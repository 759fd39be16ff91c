"""A tensor's blocks -> its values, or a matrix in Gradus's own quantized formats.

Types whose codes fit into int4 or int8 keep them, and lose at most what f16 does to scales and centres; the
others are rounded to int8. docs/gguf.md says what that costs. Works in chunks of rows, in several threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.blocks import GROUPED, VALUES, Bytes, Float32
from gradus.models.checkpoint.gguf.types import TensorType
from gradus.quantization.recipe import Width
from gradus.quantization.rtn import GROUP_SIZE, Float16, QuantizedMatrix, quantize

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
    is_int8 = stored_width(tensor_type) == "int8"
    codes: NDArray[Any] = np.empty(shape, np.int8 if is_int8 else np.uint8)
    scales = np.empty((shape[0], shape[1] // GROUP_SIZE), np.float16)
    centres = None if is_int8 else np.empty_like(scales)

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
    groups = codes.view(np.uint8).reshape(len(blocks), -1, GROUP_SIZE)
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

    codes: [rows, groups, 32]; scales, minima: [rows, groups]. What rounding a scale adds grows with a code's
    distance from the centre, so the centre takes up what makes both ends alike. Counting codes from the other
    end makes code 7 the centre: of the two ways the better one is taken. Nothing is lost where nothing needs
    rounding.
    """
    halves = scales.astype(np.float16)
    shift = halves.astype(np.float32) - scales
    low, high = codes.min(axis=-1).astype(np.float32), codes.max(axis=-1).astype(np.float32)
    found = []
    for middle in (np.float32(8), np.float32(7)):
        exact = minima + middle * scales
        centres = (exact - shift * ((low + high) / 2 - middle)).astype(np.float16)
        moved = centres.astype(np.float32) - exact
        found.append((centres, np.maximum(*(np.abs(shift * (end - middle) + moved) for end in (low, high)))))
    (centres, error), (other_centres, other_error) = found
    is_turned = other_error < error
    codes = codes ^ np.where(is_turned, np.uint8(15), np.uint8(0))[..., None]  # 15 - code
    return codes, np.where(is_turned, -halves, halves), np.where(is_turned, other_centres, centres)


def _values(blocks: Bytes, tensor_type: TensorType) -> Float32:
    with np.errstate(invalid="ignore", over="ignore"):  # the caller looks at what came of it
        if tensor_type.name in VALUES:
            return VALUES[tensor_type.name](_flat(blocks, tensor_type)).reshape(len(blocks), -1)
        codes, scales, minima = GROUPED[tensor_type.name][1](_flat(blocks, tensor_type))
        groups = codes.reshape(-1, GROUP_SIZE).astype(np.float32)
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
