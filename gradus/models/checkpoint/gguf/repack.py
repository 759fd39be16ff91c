"""A tensor's blocks -> its values, or a matrix in Gradus's own quantized formats.

int4 and int8 types whose codes fit are taken over, with scales and centres in f16; the others are rounded to
int8. docs/gguf.md says what that costs. Works in chunks of rows, in several threads.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.blocks import GROUPED, VALUES, Bytes, Float32
from gradus.models.checkpoint.gguf.centre import centred
from gradus.models.checkpoint.gguf.types import TensorType
from gradus.quantization.recipe import Width
from gradus.quantization.rtn import GROUP_SIZE, QuantizedMatrix, quantize

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
    width = stored_width(tensor_type)
    shape = len(blocks), _num_inputs(blocks, tensor_type)
    num_groups = shape[1] // GROUP_SIZE
    codes: NDArray[Any] = np.empty(shape, np.int8 if width == "int8" else np.uint8)
    scales = np.empty((shape[0], num_groups), np.float16)
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
    if tensor_type.name in VALUES:
        values = _values(blocks, tensor_type)
        _check_range(np.abs(values).max(), where)
        return quantize(values, "int8")
    codes, scales, minima = GROUPED[tensor_type.name][1](_flat(blocks, tensor_type))
    largest = np.abs(scales).max() * (15 if minima is not None else 128)
    _check_range(largest if minima is None else max(largest, np.abs(minima).max()), where)
    shape, inputs = (len(blocks), -1), _num_inputs(blocks, tensor_type)
    if minima is None:
        return QuantizedMatrix(
            codes.reshape(shape), scales.reshape(shape).astype(np.float16), None, inputs
        )
    codes, halves, centres = centred(codes.reshape(-1, GROUP_SIZE), scales.ravel(), minima.ravel())
    return QuantizedMatrix(codes.reshape(shape), halves.reshape(shape), centres.reshape(shape), inputs)


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
