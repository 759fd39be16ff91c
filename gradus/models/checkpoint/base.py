"""What a checkpoint reader gives: named raw tensors, read on demand.

Knows files and types. Knows nothing of what the weights are for.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

WeightDtype = Literal["f32", "bf16", "f16"]


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as stored. `array` has dtype float32, float16, or uint16 holding bfloat16's bits."""

    dtype: WeightDtype
    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape


class Checkpoint(Protocol):
    """Weights by their Hugging Face names."""

    def names(self) -> Collection[str]:
        """All tensor names."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def read(self, name: str) -> RawTensor:
        """One tensor; memory-mapped where the format allows.

        Raises:
            CheckpointError: it is missing or of a type that Gradus does not read.
        """
