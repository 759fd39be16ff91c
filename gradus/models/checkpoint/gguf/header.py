"""A GGUF file's header: metadata, and where each tensor lies. Nothing of the tensors' data is touched.

Source of the format: the GGUF specification. After the magic: version (u32), number of tensors and of
metadata entries (u64 each), the entries (key, type, value), the tensors (name, dimensions, type, offset),
and the data, whose beginning and whose offsets are multiples of the alignment.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gradus.models.checkpoint.gguf.cursor import Cursor, Value
from gradus.models.checkpoint.gguf.types import (
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMENSIONS,
    TYPE_BY_ID,
    UNREADABLE_TYPES,
    TensorType,
)

VERSIONS = (2, 3)  # which differ in what may be big-endian only
MAX_METADATA = 1 << 16
MAX_TENSORS = 1 << 20
MAX_NAME_BYTES = 1024
MAX_ELEMENTS = 1 << 48
MAX_ALIGNMENT = 1 << 20
_LEAST_METADATA_BYTES = 8 + 4 + 1  # an empty key, a type, a byte
_LEAST_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8  # an empty name, one dimension


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where a tensor lies.

    Attributes:
        shape: as in NumPy, the last axis running along a row; whole blocks.
        begin: in bytes from the start of the file.
    """

    name: str
    type: TensorType
    shape: tuple[int, ...]
    begin: int

    @property
    def num_bytes(self) -> int:
        return self.type.num_bytes(math.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Header:
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorEntry]
    num_bytes: int  # of the header, up to the tensors' data


def read_header(data: memoryview, where: str) -> Header:
    """Of the file whose bytes are `data`.

    Raises:
        CheckpointError: it is no GGUF file, truncated, or contradicts itself; the message has the numbers.
    """
    cursor = Cursor(data, where)
    _read_version(cursor, bytes(data[:4]))
    num_tensors = cursor.count("the number of tensors", _LEAST_TENSOR_BYTES, MAX_TENSORS)
    num_entries = cursor.count("the number of metadata entries", _LEAST_METADATA_BYTES, MAX_METADATA)
    metadata = _read_metadata(cursor, num_entries)
    alignment = _alignment(cursor, metadata)
    entries = [_read_entry(cursor, alignment) for _ in range(num_tensors)]
    data_begin = -(-cursor.position // alignment) * alignment
    tensors: dict[str, TensorEntry] = {}
    for name, tensor_type, shape, offset in entries:
        if name in tensors:
            raise cursor.error(f"there are two tensors named {name}")
        tensors[name] = TensorEntry(name, tensor_type, shape, data_begin + offset)
    _check_places(cursor, tensors)
    return Header(metadata, tensors, data_begin)


def _read_version(cursor: Cursor, magic: bytes) -> None:
    if magic != MAGIC:
        raise cursor.error(f"not a GGUF file: it begins with {magic!r}, not {MAGIC!r}")
    cursor.position = len(MAGIC)
    version = cursor.u32("the version")
    if version in (number << 24 for number in VERSIONS):
        raise cursor.error("a big-endian GGUF file; Gradus reads little-endian ones")
    if version not in VERSIONS:
        raise cursor.error(f"GGUF version {version}; Gradus reads versions {VERSIONS[0]} and {VERSIONS[1]}")


def _read_metadata(cursor: Cursor, num_entries: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for i in range(num_entries):
        key = cursor.string(f"the key of metadata entry {i}", MAX_NAME_BYTES)
        if key in metadata:
            raise cursor.error(f"there are two metadata entries {key}")
        metadata[key] = cursor.value(key)
    return metadata


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is int and 1 <= value <= MAX_ALIGNMENT and value & (value - 1) == 0:
        return value
    raise cursor.error(
        f"general.alignment is {value!r:.80}; it must be a power of two up to {MAX_ALIGNMENT:,}"
    )


def _read_entry(cursor: Cursor, alignment: int) -> tuple[str, TensorType, tuple[int, ...], int]:
    """One line of the table, consistent in itself."""
    name = cursor.string("a tensor's name", MAX_NAME_BYTES)
    num_dimensions = cursor.u32(f"the number of dimensions of tensor {name}")
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        raise cursor.error(f"tensor {name} has {num_dimensions} dimensions; 1 to {MAX_DIMENSIONS} are read")
    shape = tuple(cursor.u64(f"the shape of tensor {name}") for _ in range(num_dimensions))[::-1]
    if 0 in shape or math.prod(shape) > MAX_ELEMENTS:
        raise cursor.error(f"tensor {name} has the impossible shape {list(shape)}")
    tensor_type = _tensor_type(cursor, name)
    if shape[-1] % tensor_type.block_size:
        raise cursor.error(
            f"tensor {name} has rows of {shape[-1]:,} elements; those of type {tensor_type.name} come in "
            f"blocks of {tensor_type.block_size}"
        )
    offset = cursor.u64(f"the offset of tensor {name}")
    if offset % alignment:
        raise cursor.error(f"tensor {name} begins at offset {offset:,}, no multiple of {alignment}")
    return name, tensor_type, shape, offset


def _tensor_type(cursor: Cursor, name: str) -> TensorType:
    number = cursor.u32(f"the type of tensor {name}")
    if number not in TYPE_BY_ID:
        known = ", ".join(tensor_type.name for tensor_type in TYPE_BY_ID.values())
        raise cursor.error(
            f"tensor {name} has type {UNREADABLE_TYPES.get(number, number)}; Gradus reads {known}"
        )
    return TYPE_BY_ID[number]


def _check_places(cursor: Cursor, tensors: Mapping[str, TensorEntry]) -> None:
    """Every tensor lies within the file, and none over another."""
    size, position, before = len(cursor.data), 0, ""
    for name, entry in sorted(tensors.items(), key=lambda item: item[1].begin):
        end = entry.begin + entry.num_bytes
        if end > size:
            raise cursor.error(
                f"truncated: tensor {name}, {entry.num_bytes:,} bytes at byte {entry.begin:,}, ends beyond "
                f"the file, which has {size:,}"
            )
        if entry.begin < position:
            raise cursor.error(f"tensor {name} begins at byte {entry.begin:,}, inside tensor {before}")
        position, before = end, name
