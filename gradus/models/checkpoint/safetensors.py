"""Checkpoints in the safetensors format: one `model.safetensors`, or shards with an index.

Files are memory-mapped and nothing but their headers is read up front. A header is data from a stranger:
every number in it is checked before it is used. A file that shrinks while it is mapped kills the process;
that is the operating system's rule, not one that can be checked.

Source of the format: the safetensors README. A file is a u64 header length (little-endian), that many bytes
of JSON, and the data; `{"name": {"dtype", "shape", "data_offsets": [begin, end]}}`, offsets counted from the
end of the header, tensors covering the data without gaps or overlaps.
"""

import hashlib
import math
import mmap
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import RawTensor, StoredFile, WeightDtype
from gradus.models.json_file import parse_json_object, read_json_object

MAX_HEADER_BYTES = 100_000_000
MAX_INDEX_BYTES = 64 << 20
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 48

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

_READABLE: dict[str, tuple[WeightDtype, type[np.generic]]] = {
    "F32": ("f32", np.float32),
    "F16": ("f16", np.float16),
    "BF16": ("bf16", np.uint16),
}
# Bits per element of every type in the format; those that are not readable may still lie beside those that
# are.
_NAMES_BY_BITS = {
    4: "F4",
    6: "F6_E2M3 F6_E3M2",
    8: "BOOL I8 U8 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ",
    16: "I16 U16 F16 BF16",
    32: "I32 U32 F32",
    64: "I64 U64 F64 C64",
}
_BITS = {name: bits for bits, names in _NAMES_BY_BITS.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a tensor lies; `begin` and `end` in bytes from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """One memory-mapped file."""

    def __init__(self, path: Path) -> None:
        """Raises:
        CheckpointError: missing, truncated, or with a header that does not fit the file.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                size = status.st_size
                if size < 8:
                    raise CheckpointError(
                        f"{path} is truncated: it has {size} bytes, a header needs at least 8"
                    )
                self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        self._entries, header = _read_header(self._memory, size, str(path))
        digest = hashlib.sha256(header).hexdigest()
        self.stored = StoredFile(os.path.realpath(path), size, status.st_mtime_ns, digest)

    def names(self) -> Collection[str]:
        return self._entries.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def dtype(self, name: str) -> WeightDtype:
        """Raises:
        CheckpointError: the tensor's type is not F32, F16 or BF16.
        """
        stored = self._entries[name].dtype
        if stored not in _READABLE:
            raise CheckpointError(
                f"{self.path}: tensor {name} has type {stored}; Gradus reads {', '.join(_READABLE)}"
            )
        return _READABLE[stored][0]

    def read(self, name: str) -> RawTensor:
        """Raises:
        CheckpointError: as `dtype`.
        """
        dtype, entry = self.dtype(name), self._entries[name]
        stored = _READABLE[entry.dtype][1]
        data = memoryview(self._memory)[entry.begin : entry.end]
        array: np.ndarray[Any, Any] = np.frombuffer(data, dtype=stored).reshape(entry.shape)
        if not array.flags.aligned:
            array = array.copy()
        return RawTensor(dtype, array)

    def release(self, name: str) -> None:
        """Let the tensor's pages leave this process's memory; they come back when somebody reads them."""
        entry = self._entries[name]
        begin = entry.begin // mmap.PAGESIZE * mmap.PAGESIZE
        if entry.end > begin:
            self._memory.madvise(mmap.MADV_DONTNEED, begin, entry.end - begin)


class SafetensorsCheckpoint:
    """Implements `Checkpoint` over one file or several."""

    def __init__(self, files: dict[str, SafetensorsFile]) -> None:
        """`files`: tensor name -> the file that holds it."""
        self._files = files
        self._last_read: str | None = None

    def names(self) -> Collection[str]:
        return self._files.keys()

    def files(self) -> Sequence[StoredFile]:
        return sorted({file.stored for file in self._files.values()}, key=lambda stored: stored.path)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._file(name).shape(name)

    def dtype(self, name: str) -> WeightDtype:
        return self._file(name).dtype(name)

    def read(self, name: str) -> RawTensor:
        if self._last_read not in (None, name):  # one tensor at a time: who converts a model reads each once
            self._file(self._last_read).release(self._last_read)
        self._last_read = name
        return self._file(name).read(name)

    def width(self, name: str) -> None:
        """No tensor of this format is read quantized."""

    def quantized(self, name: str, num_threads: int = 1) -> None:
        """No tensor of this format is read quantized."""

    def _file(self, name: str) -> SafetensorsFile:
        if name not in self._files:
            raise CheckpointError(f"the checkpoint has no tensor named {name}")
        return self._files[name]


def open_safetensors(directory: Path) -> SafetensorsCheckpoint:
    """The checkpoint in `directory`; `model.safetensors` goes before an index, as in transformers.

    Raises:
        CheckpointError: no such files, or one of them is broken or missing; the message says which.
    """
    single = directory / SINGLE_FILE
    if single.exists():
        file = SafetensorsFile(single)
        return SafetensorsCheckpoint(dict.fromkeys(file.names(), file))
    index = directory / INDEX_FILE
    if index.exists():
        return _open_shards(index)
    raise CheckpointError(_what_to_do_without_safetensors(directory))


def _open_shards(index: Path) -> SafetensorsCheckpoint:
    weight_map = read_json_object(index, MAX_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: weight_map is missing or empty; it must map tensor names to files")
    shards: dict[str, SafetensorsFile] = {}
    files: dict[str, SafetensorsFile] = {}
    for name, shard in weight_map.items():
        if not _is_plain_file_name(shard):
            raise CheckpointError(
                f"{index}: the file of tensor {name} is {shard!r}; it must be the name of a .safetensors "
                "file in the same directory"
            )
        if shard not in shards:
            shards[shard] = SafetensorsFile(index.parent / shard)
        if name not in shards[shard].names():
            raise CheckpointError(
                f"{index.parent / shard} has no tensor named {name}, which {index.name} puts there"
            )
        files[name] = shards[shard]
    return SafetensorsCheckpoint(files)


def _is_plain_file_name(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name.endswith(".safetensors")
        and name.isprintable()
        and not any(character in name for character in "/\\:")
    )


def _read_header(memory: mmap.mmap, size: int, where: str) -> tuple[dict[str, _Entry], bytes]:
    """The tensors, and the bytes that describe them."""
    length = int.from_bytes(memory[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{where}: the header claims {length:,} bytes; at most {MAX_HEADER_BYTES:,} are read"
        )
    data_begin = 8 + length
    if data_begin > size:
        raise CheckpointError(f"{where} is truncated: header {data_begin:,} bytes, file {size:,}")
    raw_header = memory[8:data_begin]
    header = parse_json_object(raw_header, f"{where}: the header")
    header.pop("__metadata__", None)
    entries = {name: _entry(raw, data_begin, f"{where}: tensor {name}") for name, raw in header.items()}
    _check_covered(entries, data_begin, size, where)
    return entries, raw_header


def _entry(raw: Any, data_begin: int, where: str) -> _Entry:
    """One tensor's description, consistent in itself."""
    if not isinstance(raw, dict):
        raise CheckpointError(f"{where} is described by {raw!r:.80}; it must be an object")
    dtype = raw.get("dtype")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise CheckpointError(f"{where} has the unknown type {dtype!r:.80}")
    shape = _sizes(raw.get("shape"))
    if shape is None or len(shape) > MAX_DIMENSIONS or math.prod(shape) > MAX_ELEMENTS:
        raise CheckpointError(f"{where} has the impossible shape {raw.get('shape')!r:.80}")
    offsets = _sizes(raw.get("data_offsets"))
    if offsets is None or len(offsets) != 2:
        raise CheckpointError(f"{where} has the impossible data_offsets {raw.get('data_offsets')!r:.80}")
    begin, end = offsets
    bits = math.prod(shape) * _BITS[dtype]
    if (end - begin) * 8 != bits:
        raise CheckpointError(
            f"{where} has type {dtype} and shape {list(shape)}, together {bits // 8:,} bytes, but its "
            f"data_offsets {begin} to {end} hold {end - begin:,}"
        )
    return _Entry(dtype, shape, data_begin + begin, data_begin + end)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A list of sizes as a tuple; None where it is anything else."""
    if isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 62 for item in value):
        return tuple(value)
    return None


def _check_covered(entries: dict[str, _Entry], data_begin: int, size: int, where: str) -> None:
    """Tensors lie in the file one after the other, to its last byte."""
    position = data_begin
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            fault = "overlaps the one before it" if entry.begin < position else "leaves a gap before it"
            raise CheckpointError(f"{where}: tensor {name} begins at byte {entry.begin:,} and {fault}")
        position = entry.end
    if position > size:
        raise CheckpointError(
            f"{where} is truncated: its tensors end at byte {position:,}, the file at {size:,}"
        )
    if position < size:
        raise CheckpointError(f"{where} has {size - position:,} bytes after its last tensor")


def _what_to_do_without_safetensors(directory: Path) -> str:
    suffixes = {path.suffix for path in directory.iterdir()} if directory.is_dir() else set()
    if ".safetensors" in suffixes:
        return (
            f"{directory} has .safetensors files, but neither {SINGLE_FILE} nor {INDEX_FILE}; rename a "
            f"single file to {SINGLE_FILE}, or add the index that came with the shards"
        )
    if suffixes & {".bin", ".pt", ".pth", ".ckpt"}:
        return (
            f"{directory} has weights in PyTorch's pickle format only, which can run code when read. "
            "Convert them once, where you trust them:\n"
            "    from transformers import AutoModelForCausalLM\n"
            f"    model = AutoModelForCausalLM.from_pretrained({str(directory)!r}, dtype='auto')\n"
            "    model.save_pretrained('converted', safe_serialization=True)"
        )
    if ".gguf" in suffixes:
        return f"{directory} has weights in GGUF only; give the path of the .gguf file itself as the model"
    return f"{directory} has no {SINGLE_FILE} and no {INDEX_FILE}; other formats are not read"
