"""Packed weights as an entry of the disk cache: the key they are found by, and sections for weights and back.

Knows the cache's entries and the executor's weights; nothing of checkpoints beyond which files they are.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gradus.backends.native._native as _native
from gradus.disk_cache.entry import Entry
from gradus.disk_cache.store import EntryKey, NewEntry
from gradus.models.checkpoint.base import StoredFile
from gradus.models.config import ModelConfig

_VERSION = 1  # of the sections below
_RECIPE = 2  # one more whenever the quantizer gives other codes for the same weights


def packed_key(files: Sequence[StoredFile], config: ModelConfig, dtype: str, quantization: str) -> EntryKey:
    """The key of a model's packed weights: all that they follow from."""
    return EntryKey(
        kind="packed",
        name=f"{_model_name(files)} {dtype if quantization == 'none' else quantization}",
        what={"files": [file.path for file in files], "dtype": dtype, "quantization": quantization},
        state={
            "version": _VERSION,
            "layout": _native.LAYOUT_VERSION,
            "recipe": _RECIPE,
            "config": hashlib.sha256(repr(config).encode()).hexdigest(),
            "files": [[file.size, file.mtime_ns, file.header_sha256] for file in files],
        },
    )


def _model_name(files: Sequence[StoredFile]) -> str:
    """For people: the folder of a `model.safetensors`, or the file's own name."""
    path = files[0].path
    folder, name = os.path.split(path)
    return os.path.basename(folder) if folder and name.startswith("model") else name


class PackedReader:
    """Weights as views into an entry."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @property
    def memory(self) -> NDArray[np.uint8]:
        """The file's whole map."""
        return np.frombuffer(self._entry.memory, np.uint8)

    def linear(self, name: str) -> Any | None:
        """The weight of this name; None where the entry lacks it."""
        if name not in self._entry.names():
            return None
        meta = self._entry.meta(name)
        data = np.frombuffer(self._entry.data(name), np.uint8)
        biases = self.floats(f"{name} biases")
        return _native.Weight.view(meta["format"], meta["outputs"], meta["inputs"], data, biases)

    def floats(self, name: str) -> NDArray[np.float32] | None:
        """The vector of this name; None where the entry lacks it."""
        if name not in self._entry.names():
            return None
        return np.frombuffer(self._entry.data(name), np.float32)


class PackedWriter:
    """The way back."""

    def __init__(self, entry: NewEntry) -> None:
        self._entry = entry

    def add_linear(self, name: str, weight: Any) -> None:
        meta = {"format": weight.format, "outputs": weight.outputs, "inputs": weight.inputs}
        self._entry.add(name, weight.data, meta)
        if weight.biases.size:
            self.add_floats(f"{name} biases", weight.biases)

    def add_floats(self, name: str, values: NDArray[np.float32]) -> None:
        self._entry.add(name, values)
