"""`GgufCheckpoint`: a model's tensors by their Hugging Face names, from one GGUF file or several."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import RawTensor, StoredFile, WeightDtype
from gradus.models.checkpoint.gguf.file import GgufFile
from gradus.models.checkpoint.gguf.header import TensorEntry
from gradus.models.checkpoint.gguf.names import half_split_rows, hf_name, is_rotated
from gradus.models.checkpoint.gguf.repack import dequantize, repack, stored_width
from gradus.quantization.recipe import Width
from gradus.quantization.rtn import QuantizedMatrix

_PLAIN: dict[str, tuple[WeightDtype, str]] = {
    "F32": ("f32", "<f4"),
    "F16": ("f16", "<f2"),
    "BF16": ("bf16", "<u2"),
}


class GgufCheckpoint:
    """Implements `Checkpoint`."""

    def __init__(self, files: Sequence[GgufFile], rotated_head_dim: int | None = None) -> None:
        """`rotated_head_dim`: the size of the heads of whose rows pairs that turn together are neighbours.

        Tensors that have no Hugging Face name keep their own.

        Raises:
            CheckpointError: a tensor is in two files, or has rows that are no whole heads.
        """
        self._files = files
        self._rotated_head_dim = rotated_head_dim
        self._last_read: str | None = None
        self._places: dict[str, tuple[GgufFile, TensorEntry]] = {}
        for file in files:
            for entry in file.tensors.values():
                name = hf_name(entry.name) or entry.name
                if name in self._places:
                    raise CheckpointError(f"tensor {entry.name} is in {self._places[name][0].path} too")
                self._places[name] = file, entry
                if self._is_interleaved(name) and entry.shape[0] % (rotated_head_dim or 1):
                    raise CheckpointError(
                        f"tensor {entry.name} has {entry.shape[0]:,} rows, no multiple of {rotated_head_dim}"
                    )

    def names(self) -> Collection[str]:
        return self._places.keys()

    def files(self) -> Sequence[StoredFile]:
        return [file.stored for file in self._files]

    def shape(self, name: str) -> tuple[int, ...]:
        return self._place(name)[1].shape

    def dtype(self, name: str) -> WeightDtype:
        """The type that `read` gives."""
        entry = self._place(name)[1]
        return _PLAIN[entry.type.name][0] if entry.type.name in _PLAIN else "f32"

    def read(self, name: str) -> RawTensor:
        file, entry = self._turn_to(name)
        data, order = file.data(entry), self._order(name, entry)
        if entry.type.name not in _PLAIN:
            values = dequantize(data, entry.type, order, self._where(name))
            return RawTensor("f32", values.reshape(entry.shape))
        dtype, stored = _PLAIN[entry.type.name]
        array: NDArray[Any] = data.reshape(-1).view(stored).reshape(entry.shape)
        if not array.flags.aligned:
            array = array.copy()
        return RawTensor(dtype, array if order is None else array[order])

    def width(self, name: str) -> Width | None:
        entry = self._place(name)[1]
        return stored_width(entry.type) if len(entry.shape) == 2 else None

    def quantized(self, name: str, num_threads: int = 1) -> QuantizedMatrix | None:
        if self.width(name) is None:
            return None
        file, entry = self._turn_to(name)
        order = self._order(name, entry)
        return repack(file.data(entry), entry.type, order, self._where(name), num_threads)

    def _place(self, name: str) -> tuple[GgufFile, TensorEntry]:
        if name not in self._places:
            raise CheckpointError(f"the checkpoint has no tensor named {name}")
        return self._places[name]

    def _turn_to(self, name: str) -> tuple[GgufFile, TensorEntry]:
        """The tensor that is read next; the one before may leave memory."""
        place = self._place(name)
        if self._last_read not in (None, name):
            file, entry = self._places[self._last_read]
            file.release(entry)
        self._last_read = name
        return place

    def _where(self, name: str) -> str:
        file, entry = self._places[name]
        return f"{file.path}: tensor {entry.name}"

    def _is_interleaved(self, name: str) -> bool:
        return self._rotated_head_dim is not None and is_rotated(name)

    def _order(self, name: str, entry: TensorEntry) -> NDArray[np.int64] | None:
        if not self._is_interleaved(name):
            return None
        assert self._rotated_head_dim is not None
        return half_split_rows(entry.shape[0], self._rotated_head_dim)
