"""What a checkpoint reader gives: named raw tensors, read on demand.

Knows files and types. Knows nothing of what the weights are for.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gradus.quantization.recipe import Width
from gradus.quantization.rtn import QuantizedMatrix

WeightDtype = Literal["f32", "bf16", "f16"]

StoredWidth = Callable[[str], Width | None]
"""A checkpoint's `width`."""


def not_quantized(name: str) -> None:
    """The stored width of a tensor whose checkpoint is not quantized, or not known."""


@dataclass(frozen=True, slots=True)
class RawTensor:
    """A tensor as stored. `array` has dtype float32, float16, or uint16 holding bfloat16's bits."""

    dtype: WeightDtype
    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def rows_as_float32(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows' values as f32, which holds all three types exactly."""
        chosen = self.array[rows]
        if self.dtype == "bf16":
            return (chosen.astype(np.uint32) << 16).view(np.float32)
        return np.ascontiguousarray(chosen, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a checkpoint as it was when it was opened, without reading its data.

    Attributes:
        path: absolute; or a name for weights that are made and not stored.
        mtime_ns: when it was last written, in nanoseconds since the epoch.
        header_sha256: of everything before the data, in hexadecimal.
    """

    path: str
    size: int
    mtime_ns: int
    header_sha256: str


class Checkpoint(Protocol):
    """Weights by their Hugging Face names."""

    def names(self) -> Collection[str]:
        """All tensor names."""

    def files(self) -> Sequence[StoredFile]:
        """Where the weights come from; two checkpoints with equal files have equal weights."""

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape, without reading it."""

    def dtype(self, name: str) -> WeightDtype:
        """A tensor's type, without reading it.

        Raises:
            CheckpointError: as `read`.
        """

    def read(self, name: str) -> RawTensor:
        """One tensor; memory-mapped where the format allows. The one read before may leave memory.

        Raises:
            CheckpointError: it is missing or of a type that Gradus does not read.
        """

    def width(self, name: str) -> Width | None:
        """The width in which a matrix is stored quantized, without reading it; None where it is not."""

    def quantized(self, name: str, num_threads: int = 1) -> QuantizedMatrix | None:
        """A matrix that is stored quantized, in Gradus's formats; None where `width` is None.

        `read` gives its values too, as f32.
        """
