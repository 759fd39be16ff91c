"""Writes a GGUF file: metadata, the table of tensors, then their data, one chunk at a time.

Knows the file's layout; nothing of what metadata and tensors mean.
"""

import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gradus.models.checkpoint.gguf.types import DEFAULT_ALIGNMENT, MAGIC, VERSION, TensorType, ValueType

MetadataValue = bool | int | float | str | Sequence[str] | NDArray[Any]
"""An integer is written as uint32, a number as float32, an array in its own type."""

_ARRAY_TYPES = {"int32": ValueType.INT32, "float32": ValueType.FLOAT32}


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor to be written.

    Attributes:
        shape: as in NumPy, the last axis running along a row.
        chunks: makes its data, when it is the tensor's turn.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    chunks: Callable[[], Iterable[NDArray[Any]]]

    @property
    def num_bytes(self) -> int:
        return self.type.num_bytes(int(np.prod(self.shape)))


def write_gguf(path: Path, metadata: Mapping[str, MetadataValue], tensors: Sequence[OutputTensor]) -> None:
    """Write `path`; under another name until it is complete.

    Raises:
        OSError: from writing.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(_header(metadata, tensors))
            for tensor in tensors:
                _pad(file)
                _write_data(file, tensor)
            _pad(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _header(metadata: Mapping[str, MetadataValue], tensors: Sequence[OutputTensor]) -> bytes:
    parts = [MAGIC, struct.pack("<IQQ", VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _value(value)]
    offset = 0
    for tensor in tensors:
        dimensions = tensor.shape[::-1]  # ggml counts from the row's axis
        parts += [
            _string(tensor.name),
            struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions),
            struct.pack("<IQ", tensor.type.id, offset),
        ]
        offset = _aligned(offset + tensor.num_bytes)
    return b"".join(parts)


def _value(value: MetadataValue) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<I?", ValueType.BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", ValueType.UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", ValueType.FLOAT32, value)
    if isinstance(value, str):
        return struct.pack("<I", ValueType.STRING) + _string(value)
    if isinstance(value, np.ndarray):
        element_type = _ARRAY_TYPES[value.dtype.name]
        return struct.pack("<IIQ", ValueType.ARRAY, element_type, len(value)) + value.tobytes()
    strings = b"".join(map(_string, value))
    return struct.pack("<IIQ", ValueType.ARRAY, ValueType.STRING, len(value)) + strings


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _write_data(file: BinaryIO, tensor: OutputTensor) -> None:
    written = 0
    for chunk in tensor.chunks():
        written += file.write(np.ascontiguousarray(chunk).data)
    assert written == tensor.num_bytes, f"{tensor.name}: {written} bytes, not {tensor.num_bytes}"


def _pad(file: BinaryIO) -> None:
    position = file.tell()
    file.write(bytes(_aligned(position) - position))


def _aligned(position: int) -> int:
    return -(-position // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT
