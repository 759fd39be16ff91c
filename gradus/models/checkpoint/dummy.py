"""A checkpoint of seeded random weights: a published model's names and shapes without its download.

For speed and memory work; its text is noise. A tensor is made anew at each read, from (seed, name) alone, so
neither the order of reading nor the number of layers changes it.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import RawTensor, StoredFile, WeightDtype
from gradus.models.config import ModelConfig
from gradus.models.weights import Shape, expected_weights

STANDARD_DEVIATION = 0.02  # the initialization of GPT-2 and of most models since
_RECIPE = 1  # one more whenever other values are made from a seed
_CHUNK = 1 << 20  # elements made at once: indices and values stay in the CPU's cache
_BF16_ONE = 0x3F80


class DummyCheckpoint:
    """Implements `Checkpoint` in bf16: matrices normal with standard deviation 0.02, norms 1, biases 0."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        self._shapes = expected_weights(config)
        self._seed = seed

    def names(self) -> Collection[str]:
        return self._shapes.keys()

    def files(self) -> Sequence[StoredFile]:
        shapes = hashlib.sha256(repr(self._shapes).encode()).hexdigest()
        name = f"{type(self).__name__}-{shapes[:12]}-seed-{self._seed}"
        return [StoredFile(name, 0, _RECIPE, shapes)]

    def dtype(self, name: str) -> WeightDtype:
        self.shape(name)
        return "bf16"

    def shape(self, name: str) -> tuple[int, ...]:
        if name not in self._shapes:
            raise CheckpointError(f"the checkpoint has no tensor named {name}")
        return self._shapes[name]

    def read(self, name: str) -> RawTensor:
        shape = self.shape(name)
        if len(shape) == 1:
            value = 0 if name.endswith(".bias") else _BF16_ONE
            return RawTensor("bf16", np.full(shape, value, dtype=np.uint16))
        return RawTensor("bf16", _normal(shape, self._seed, name))

    def width(self, name: str) -> None:
        """No tensor of random weights is read quantized."""

    def quantized(self, name: str, num_threads: int = 1) -> None:
        """No tensor of random weights is read quantized."""


def _normal(shape: Shape, seed: int, name: str) -> NDArray[np.uint16]:
    """Draws from the table of quantiles, each entry equally likely."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    random = np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest, "little")))
    table = _quantiles()
    values = np.empty(math.prod(shape), dtype=np.uint16)
    for start in range(0, values.size, _CHUNK):
        chunk = values[start : start + _CHUNK]
        # Each raw draw is 64 bits: four indices into the table.
        indices = random.random_raw((chunk.size + 3) // 4).view(np.uint16)[: chunk.size]
        np.take(table, indices, out=chunk, mode="clip")
    return values.reshape(shape)


@cache
def _quantiles() -> NDArray[np.uint16]:
    """The normal distribution's 65,536 quantiles at (i + 1/2) / 65,536, in bfloat16's bits."""
    normal = NormalDist(0.0, STANDARD_DEVIATION)
    exact = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)], dtype=np.float32)
    # Rounding to nearest; ties, which go up here, do not matter for noise.
    return ((exact.view(np.uint32) + 0x8000) >> 16).astype(np.uint16)
