"""Reads tensors from a checkpoint, converts or quantizes them, and packs them: the work of a first start.

One tensor is read at a time, and goes straight into the packed format. Knows which format a matrix gets;
nothing of who uses it.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradus.backends.native._native as _native
from gradus.models.checkpoint.base import Checkpoint, RawTensor
from gradus.models.config import ModelConfig
from gradus.models.weights import check_tied
from gradus.quantization.recipe import weight_width
from gradus.quantization.rtn import QuantizedMatrix


class Formats:
    """The width in which the checkpoint stores a matrix, else the recipe's, else `dtype`. Reads nothing."""

    def __init__(self, checkpoint: Checkpoint, dtype: str, quantization: str) -> None:
        self._checkpoint = checkpoint
        self._dtype = dtype
        self._quantization = quantization

    def of(self, name: str) -> str:
        """The format of the matrix `name` (without ".weight")."""
        stored = self._checkpoint.width(f"{name}.weight")
        return stored or weight_width(name, self._quantization) or self._dtype

    def runs(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """The names in runs of one format."""
        return [tuple(run) for _, run in groupby(names, self.of)]


class Packer:
    """Raises:
    CheckpointError: a second lm_head differs from tied embeddings; from reading any tensor.
    """

    def __init__(self, checkpoint: Checkpoint, config: ModelConfig, formats: Formats, executor: Any) -> None:
        check_tied(config, checkpoint)
        self._checkpoint = checkpoint
        self._formats = formats
        self._executor = executor

    def linear(self, names: Sequence[str], bias: bool) -> Any:
        """Matrices of one format and the same input, side by side."""
        shapes = [self._checkpoint.shape(f"{name}.weight") for name in names]
        weight = _native.Weight(self._formats.of(names[0]), [shape[0] for shape in shapes], shapes[0][1])
        for i, name in enumerate(names):
            self._pack(weight, i, name)
            if bias:
                weight.set_bias(i, to_float32(self._checkpoint.read(f"{name}.bias")))
        return weight

    def fused(self, name: str, widths: Sequence[int]) -> Any:
        """One stored matrix as several, `widths` rows each."""
        ends = np.cumsum(widths)
        inputs = self._checkpoint.shape(f"{name}.weight")[1]
        weight = _native.Weight(self._formats.of(name), list(widths), inputs)
        quantized = self._quantized(name)
        if quantized is not None:
            for i, end in enumerate(ends):
                _pack_codes(weight, i, quantized, slice(end - widths[i], end), self._executor)
            return weight
        tensor = self._checkpoint.read(f"{name}.weight")
        for i, rows in enumerate(np.split(tensor.array, ends[:-1])):
            weight.pack(i, _bits(rows), tensor.dtype, self._executor)
        return weight

    def vector(self, name: str, offset: float) -> NDArray[np.float32]:
        """A norm's weight plus `offset`."""
        return to_float32(self._checkpoint.read(f"{name}.weight")) + np.float32(offset)

    def _quantized(self, name: str) -> QuantizedMatrix | None:
        return self._checkpoint.quantized(f"{name}.weight", self._executor.num_threads)

    def _pack(self, weight: Any, index: int, name: str) -> None:
        quantized = self._quantized(name)
        if quantized is not None:
            _pack_codes(weight, index, quantized, slice(None), self._executor)
        else:
            tensor = self._checkpoint.read(f"{name}.weight")
            weight.pack(index, _bits(tensor.array), tensor.dtype, self._executor)


def to_float32(tensor: RawTensor) -> NDArray[np.float32]:
    """The tensor's values as f32, which holds all three formats exactly."""
    if tensor.dtype == "bf16":
        return (tensor.array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(tensor.array, dtype=np.float32)


def _pack_codes(weight: Any, index: int, matrix: QuantizedMatrix, rows: slice, executor: Any) -> None:
    codes, scales = matrix.codes[rows].view(np.uint8), _half_bits(matrix.scales[rows])
    centres = None if matrix.centres is None else _half_bits(matrix.centres[rows])
    weight.pack_quantized(index, codes, scales, centres, executor)


def _half_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    return values.astype(np.float16, copy=False).view(np.uint16)


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """What C++ reads: contiguous, 16-bit floats as their bits."""
    array = np.ascontiguousarray(array)
    return array if array.itemsize == 4 else array.view(np.uint16)
