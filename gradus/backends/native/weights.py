"""The model's weights in the executor's formats: mapped from the disk cache, or packed and put there.

Each weight is loaded when an operation first names it and kept under its names, so a tied embedding is
stored once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradus.backends.native._native as _native
from gradus.backends.native.packed_entry import PackedReader, PackedWriter, packed_key
from gradus.backends.native.packer import Formats, Packer
from gradus.disk_cache.store import DiskCache
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.rope import Rope, inverse_frequencies
from gradus.models.weights import check_weights


class Weights:
    """Packs on demand, without a cache; with one, `loading` has to enclose the first pass over the model.

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
    ) -> None:
        check_weights(config, checkpoint)
        self._checkpoint = checkpoint
        self._config = config
        self._recipe = weight_format, quantization
        self._executor = executor
        self._formats = Formats(checkpoint, weight_format, quantization)
        self._reader: PackedReader | None = None
        self._writer: PackedWriter | None = None
        self._linears: dict[tuple[str, ...], list[Any]] = {}
        self._vectors: dict[tuple[str, float], Any] = {}
        self._frequencies: dict[Rope, Any] = {}

    @property
    def num_bytes(self) -> int:
        vectors = sum(4 * len(vector) for vector in self._vectors.values())
        return vectors + sum(weight.bytes for weights in self._linears.values() for weight in weights)

    @property
    def mapped(self) -> NDArray[np.uint8] | None:
        """The map of the cached file that the weights are views into; None where they were packed."""
        return self._reader.memory if self._reader else None

    @contextmanager
    def loading(self, cache: DiskCache) -> Iterator[None]:
        """Inside, weights come from the cache's file of this model; where it has none, one is written."""
        key = packed_key(self._checkpoint.files(), self._config, *self._recipe)
        entry = cache.find(key)
        if entry is not None:
            self._reader = PackedReader(entry)
            yield
            return
        with cache.create(key) as new_entry:
            self._writer = PackedWriter(new_entry)
            try:
                yield
            finally:
                self._writer = None

    def linear(self, names: Sequence[str], bias: bool = False) -> list[Any]:
        """Matrices that read the same input, packed side by side; several weights where formats differ."""
        key = tuple(names)
        if key not in self._linears:
            self._linears[key] = [
                self._load(",".join(run), partial(Packer.linear, names=run, bias=bias))
                for run in self._formats.runs(names)
            ]
        return self._linears[key]

    def fused(self, name: str, widths: Sequence[int]) -> Any:
        """One stored matrix as several, `widths` rows each."""
        key = (name,)
        if key not in self._linears:
            self._linears[key] = [self._load(name, partial(Packer.fused, name=name, widths=widths))]
        return self._linears[key][0]

    def vector(self, name: str, offset: float = 0.0) -> Any:
        """A norm's weight plus `offset`, always f32."""
        key = (name, offset)
        if key not in self._vectors:
            self._vectors[key] = _native.Floats(self._load_vector(name, offset))
        return self._vectors[key]

    def rope_frequencies(self, rope: Rope) -> Any:
        if rope not in self._frequencies:
            self._frequencies[rope] = _native.Floats(inverse_frequencies(rope))
        return self._frequencies[rope]

    @cached_property
    def _packer(self) -> Packer:
        return Packer(self._checkpoint, self._config, self._formats, self._executor)

    def _load(self, name: str, pack: Callable[[Packer], Any]) -> Any:
        found = self._reader.linear(name) if self._reader else None
        if found is not None:
            return found
        packed = pack(self._packer)
        if self._writer:
            self._writer.add_linear(name, packed)
        return packed

    def _load_vector(self, name: str, offset: float) -> NDArray[np.float32]:
        section = f"{name} + {offset}"
        found = self._reader.floats(section) if self._reader else None
        if found is not None:
            return found
        packed = self._packer.vector(name, offset)
        if self._writer:
            self._writer.add_floats(section, packed)
        return packed
