"""Rotary position embedding: which angles, and how published models stretch them over longer contexts.

Knows formulas only. A scaling that depends on the length of the sequence has no place here: a token's key is
computed once and must not change when the sequence grows.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


class RopeScaling(Protocol):
    """Changes the frequencies that a model was first trained with; hashable."""

    def frequencies(self, wavelengths: Float32, rope: "Rope") -> Float32:
        """Radians per position; wavelengths: positions per radian without scaling, [num_rotated / 2]."""


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding in the half-split (GPT-NeoX) convention that Hugging Face uses.

    The angle of pair j at position p is p * theta ** (-2j / rotary_dim), pair j being elements j and
    j + rotary_dim / 2 of a head. Source: Su et al. 2021, section 3.2.2.

    Attributes:
        rotary_dim: the first elements of each head, which are turned; 0 is all `head_dim` of them.
        magnitude: cosines and sines are multiplied by it.
    """

    head_dim: int
    theta: float
    rotary_dim: int = 0
    scaling: RopeScaling | None = None
    magnitude: float = 1.0

    @property
    def num_rotated(self) -> int:
        return self.rotary_dim or self.head_dim


def inverse_frequencies(rope: Rope) -> Float32:
    """Radians per position of each pair, [num_rotated / 2]; rounded where Hugging Face's embedding rounds."""
    exponents = np.arange(0, rope.num_rotated, 2, dtype=np.float32) / np.float32(rope.num_rotated)
    wavelengths = np.power(np.float64(rope.theta), exponents.astype(np.float64)).astype(np.float32)
    if rope.scaling is not None:
        return rope.scaling.frequencies(wavelengths, rope)
    frequencies: Float32 = np.float32(1) / wavelengths
    return frequencies


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """Positions are divided by `factor`. Source: Chen et al. 2023, section 2.3."""

    factor: float

    def frequencies(self, wavelengths: Float32, rope: Rope) -> Float32:
        return np.float32(1) / wavelengths / np.float32(self.factor)


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Long wavelengths are divided by `factor`, short ones kept, those in between blended.

    Source: the Llama 3.1 model card and its reference code, 2024.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def frequencies(self, wavelengths: Float32, rope: Rope) -> Float32:
        exact = 1 / wavelengths.astype(np.float64)
        turns = self.original_max_position_embeddings * exact / (2 * math.pi)  # within the original context
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        kept = kept.clip(0, 1)
        return ((1 - kept) * exact / self.factor + kept * exact).astype(np.float32)


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """Pairs that turn less than `beta_slow` times are divided by `factor`, above `beta_fast` kept.

    In between the share goes linearly with the index of the pair. Source: Peng et al. 2023, section 3.2.
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float
    beta_slow: float
    truncate: bool  # the range is widened to whole indices

    def frequencies(self, wavelengths: Float32, rope: Rope) -> Float32:
        low, high = (self._index_of(turns, rope) for turns in (self.beta_fast, self.beta_slow))
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, rope.num_rotated - 1)
        ramp = (np.arange(len(wavelengths)) - low) / (high - low if high != low else 0.001)
        divided = ramp.clip(0, 1)
        exact = 1 / wavelengths.astype(np.float64)
        return (exact / self.factor * divided + exact * (1 - divided)).astype(np.float32)

    def _index_of(self, turns: float, rope: Rope) -> float:
        """The pair, a fraction, that turns so often within the original context."""
        wavelength = self.original_max_position_embeddings / (turns * 2 * math.pi)
        return rope.num_rotated * math.log(wavelength) / (2 * math.log(rope.theta))

    @staticmethod
    def magnitude(factor: float, weight: float = 1.0) -> float:
        """Makes up for what stretching does to the attention's entropy. Source: section 3.4, eq. 22."""
        return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


@dataclass(frozen=True, slots=True)
class PairwiseScaling:
    """Each pair is divided by a factor of its own. Source: Ding et al. 2024 (LongRoPE), section 3."""

    factors: tuple[float, ...]  # [rotary_dim / 2]

    def frequencies(self, wavelengths: Float32, rope: Rope) -> Float32:
        return np.float32(1) / (np.array(self.factors, np.float32) * wavelengths)
