"""GGUF files on disk: memory-mapped, one or the parts of a split one.

Nothing but headers is read up front. A file that shrinks while it is mapped kills the process; that is the
operating system's rule, not one that can be checked.
"""

import hashlib
import mmap
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import StoredFile
from gradus.models.checkpoint.gguf.blocks import Bytes
from gradus.models.checkpoint.gguf.cursor import Value
from gradus.models.checkpoint.gguf.header import TensorEntry, read_header

MAX_PARTS = 1000
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


class GgufFile:
    """One memory-mapped file."""

    def __init__(self, path: Path) -> None:
        """Raises:
        CheckpointError: missing, truncated, or with a header that does not fit the file.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size == 0:
                    raise CheckpointError(f"{path} is empty, so it is no GGUF file")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: not a file that can be mapped
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        self._memory = memoryview(self._map)
        header = read_header(self._memory, str(path))
        self.metadata: Mapping[str, Value] = header.metadata
        self.tensors: Mapping[str, TensorEntry] = header.tensors
        digest = hashlib.sha256(self._memory[: header.num_bytes]).hexdigest()
        self.stored = StoredFile(os.path.realpath(path), status.st_size, status.st_mtime_ns, digest)

    def data(self, entry: TensorEntry) -> Bytes:
        """A tensor's bytes as they lie in the file, [rows, bytes of a row]; of vectors, one row."""
        rows = entry.shape[0] if len(entry.shape) > 1 else 1
        data = self._memory[entry.begin : entry.begin + entry.num_bytes]
        return np.frombuffer(data, dtype=np.uint8).reshape(rows, -1)

    def release(self, entry: TensorEntry) -> None:
        """Let the tensor's pages leave this process's memory; they come back when somebody reads them."""
        begin = entry.begin // mmap.PAGESIZE * mmap.PAGESIZE
        self._map.madvise(mmap.MADV_DONTNEED, begin, entry.begin + entry.num_bytes - begin)


def open_parts(path: Path) -> list[GgufFile]:
    """The file at `path`, or all parts of the split file that it is one of, in their order.

    Raises:
        CheckpointError: as `GgufFile`; or parts are missing or do not belong together.
    """
    file = GgufFile(path)
    count = _split_number(file, "split.count", 1)
    if count <= 1:
        return [file]
    name = _PART.fullmatch(path.name)
    if name is None or int(name["count"]) != count or count > MAX_PARTS:
        raise CheckpointError(
            f"{path} is one of {count:,} parts of a split file (at most {MAX_PARTS:,} are read); they must "
            f"be called NAME-00001-of-{min(count, 99999):05}.gguf and so on"
        )
    paths = [
        path.with_name(f"{name['stem']}-{number:05}-of-{count:05}.gguf") for number in range(1, count + 1)
    ]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise CheckpointError(
            f"{path.parent} lacks {len(missing)} of the {count} parts of {name['stem']}; the first is "
            f"{missing[0]}"
        )
    files = [file if part == path else GgufFile(part) for part in paths]
    _check_parts(files, count)
    return files


def _check_parts(files: list[GgufFile], count: int) -> None:
    for number, part in enumerate(files):
        found = _split_number(part, "split.no", 0), _split_number(part, "split.count", 1)
        if found != (number, count):
            raise CheckpointError(
                f"{part.path} says that it is part {found[0] + 1} of {found[1]}; by its name it is part "
                f"{number + 1} of {count}"
            )
    wanted = _split_number(files[0], "split.tensors.count", 0)
    num_tensors = sum(len(part.tensors) for part in files)
    if wanted not in (0, num_tensors):
        raise CheckpointError(
            f"{files[0].path} announces {wanted:,} tensors in {count} parts; they have {num_tensors:,}"
        )


def _split_number(file: GgufFile, key: str, default: int) -> int:
    value = file.metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CheckpointError(f"{file.path}: {key} is {value!r:.80}; it must be a number")
    return value
