"""Loads weights: reads tensors from a checkpoint, converts and packs them.

Each weight is loaded when an operation first names it and kept under its names, so a tied embedding is
stored once. At most one tensor exists unpacked at a time.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradus.backends.native._native as _native
from gradus.models.checkpoint.base import Checkpoint, RawTensor
from gradus.models.config import ModelConfig
from gradus.models.rope import Rope, inverse_frequencies
from gradus.models.weights import check_weights
from gradus.quantization.recipe import Width, weight_width
from gradus.quantization.rtn import quantize


class Weights:
    """The model's weights in the executor's formats.

    Raises:
        CheckpointError: a weight is missing or has another shape than the config makes it.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: ModelConfig,
        weight_format: str,
        executor: Any,
        quantization: str = "none",
        num_threads: int = 1,
    ) -> None:
        check_weights(config, checkpoint)
        self._checkpoint = checkpoint
        self._format = weight_format
        self._quantization = quantization
        self._num_threads = num_threads
        self._executor = executor
        self._linears: dict[tuple[str, ...], Any] = {}
        self._vectors: dict[tuple[str, float], Any] = {}
        self._frequencies: dict[Rope, Any] = {}

    @property
    def num_bytes(self) -> int:
        vectors = sum(4 * len(vector) for vector in self._vectors.values())
        return vectors + sum(weight.bytes for weight in self._linears.values())

    def linear(self, names: Sequence[str], bias: bool = False) -> Any:
        """Matrices that read the same input, packed side by side."""
        key = tuple(names)
        if key not in self._linears:
            shapes = [self._checkpoint.shape(f"{name}.weight") for name in names]
            weight_format = self._format_of(names)
            weight = _native.Weight(weight_format, [shape[0] for shape in shapes], shapes[0][1])
            for i, name in enumerate(names):
                self._pack(weight, i, self._checkpoint.read(f"{name}.weight"), weight_format)
                if bias:
                    weight.set_bias(i, to_float32(self._checkpoint.read(f"{name}.bias")))
            self._linears[key] = weight
        return self._linears[key]

    def fused(self, name: str, widths: Sequence[int]) -> Any:
        """One stored matrix as several, `widths` rows each."""
        key = (name,)
        if key not in self._linears:
            tensor = self._checkpoint.read(f"{name}.weight")
            weight_format = self._format_of(key)
            weight = _native.Weight(weight_format, list(widths), tensor.shape[1])
            for i, rows in enumerate(np.split(tensor.array, np.cumsum(widths)[:-1])):
                self._pack(weight, i, RawTensor(tensor.dtype, rows), weight_format)
            self._linears[key] = weight
        return self._linears[key]

    def _format_of(self, names: Sequence[str]) -> str:
        """Matrices that are packed together have one format."""
        formats = {weight_width(name, self._quantization) or self._format for name in names}
        assert len(formats) == 1, f"the recipe gives {names} different widths"
        return formats.pop()

    def _pack(self, weight: Any, index: int, tensor: RawTensor, weight_format: str) -> None:
        if weight.is_quantized:
            width: Width = "int8" if weight_format == "int8" else "int4"
            quantized = quantize(to_float32(tensor), width, self._num_threads)
            centres = None if quantized.centres is None else quantized.centres.view(np.uint16)
            codes = quantized.codes.view(np.uint8)
            weight.pack_quantized(index, codes, quantized.scales.view(np.uint16), centres, self._executor)
        else:
            weight.pack(index, _bits(tensor), tensor.dtype, self._executor)

    def num_outputs(self, name: str) -> int:
        return self._checkpoint.shape(f"{name}.weight")[0]

    def vector(self, name: str, offset: float = 0.0) -> Any:
        """A norm's weight plus `offset`, always f32."""
        key = (name, offset)
        if key not in self._vectors:
            values = to_float32(self._checkpoint.read(f"{name}.weight")) + np.float32(offset)
            self._vectors[key] = _native.Floats(values)
        return self._vectors[key]

    def rope_frequencies(self, rope: Rope) -> Any:
        if rope not in self._frequencies:
            self._frequencies[rope] = _native.Floats(inverse_frequencies(rope))
        return self._frequencies[rope]


def to_float32(tensor: RawTensor) -> NDArray[np.float32]:
    """The tensor's values as f32, which holds all three formats exactly."""
    if tensor.dtype == "bf16":
        return (tensor.array.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(tensor.array, dtype=np.float32)


def _bits(tensor: RawTensor) -> NDArray[Any]:
    array = np.ascontiguousarray(tensor.array)
    return array if tensor.dtype == "f32" else array.view(np.uint16)
