"""One cached file: named sections of bytes, each with a JSON object, behind a header that can be checked.

A file is 64 bytes of preamble, the sections, each aligned to 64 bytes, and an index in JSON:

    8 bytes   magic
    u32, u32  version of this format, 0
    u64, u64  where the index begins, its bytes; it ends the file
    32 bytes  SHA-256 of the index

    index: {"kind", "name", "what", "state", "sections": [[name, begin, bytes, sha256, meta], ...]}

Numbers are little-endian. The preamble is written last, so a file that was not finished has none. Opening
checks everything but the sections' contents, which `verify` reads. Knows nothing of what sections mean.
"""

import hashlib
import json
import mmap
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAGIC = b"GRADUS\r\n"
VERSION = 1
ALIGNMENT = 64
_PREAMBLE = struct.Struct("<8sIIQQ32s")
_MAX_INDEX_BYTES = 256 << 20
# A multiple of the largest page: the page cache keeps what is written at once in pages as large as fit, and
# maps them as such, which decoding notices (docs/decisions/015-packed-weights-are-mapped.md).
_CHUNK = 4 << 20

Json = Mapping[str, Any]


class DamagedEntryError(Exception):
    """The file is not what was written; the message says how."""


@dataclass(frozen=True, slots=True)
class EntryKey:
    """What an entry is of.

    Attributes:
        kind: which sort of thing, a lower-case word.
        name: for people.
        what: JSON values; entries that differ in it lie beside each other.
        state: JSON values that must be the same for the entry to be of use; else it is stale, and replaced.
    """

    kind: str
    name: str
    what: Json
    state: Json


@dataclass(frozen=True, slots=True)
class Section:
    """Where a section lies in the file, the hash of its bytes, and what was said of it."""

    begin: int
    num_bytes: int
    sha256: str
    meta: Json


class Entry:
    """A file that is open and mapped; the map lives as long as somebody holds a view into it."""

    def __init__(self, path: Path) -> None:
        """Raises:
        DamagedEntryError: truncated, or the header is not what was written.
        OSError: the file cannot be read.
        """
        self.path = path
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            index = _read_index(file, size)
            self.key, self._sections = _parse_index(index, size - len(index))
            self.memory = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))

    def names(self) -> Collection[str]:
        return self._sections.keys()

    def meta(self, name: str) -> Json:
        return self._sections[name].meta

    def data(self, name: str) -> memoryview:
        """The section's bytes: read-only, in the map, aligned to 64."""
        section = self._sections[name]
        return self.memory[section.begin : section.begin + section.num_bytes]

    def verify(self) -> None:
        """Read all of it.

        Raises:
            DamagedEntryError: a section's bytes are not those that were written.
        """
        for name, section in self._sections.items():
            if hashlib.sha256(self.data(name)).hexdigest() != section.sha256:
                raise DamagedEntryError(f"the checksum of section {name} is wrong")


class SectionWriter:
    """Writes an entry's file, in large pieces; raises OSError like any writing."""

    def __init__(self, descriptor: int, key: EntryKey) -> None:
        self.num_bytes = _PREAMBLE.size
        self._descriptor = descriptor
        self._key = key
        self._pending = bytearray(_CHUNK)
        self._num_pending = _PREAMBLE.size  # zeros until `finish`
        self._sections: list[list[Any]] = []

    def add(self, name: str, data: memoryview, meta: Json) -> None:
        self._append(bytes(-self.num_bytes % ALIGNMENT))
        begin = self.num_bytes
        self._append(data)
        self._sections.append([name, begin, data.nbytes, hashlib.sha256(data).hexdigest(), dict(meta)])

    def finish(self) -> None:
        """Write the index, then the preamble that makes the file valid; both are on the disk afterwards."""
        key = self._key
        index = json.dumps(
            {
                "kind": key.kind,
                "name": key.name,
                "what": key.what,
                "state": key.state,
                "sections": self._sections,
            }
        ).encode()
        begin = self.num_bytes
        self._append(index)
        self._write(memoryview(self._pending)[: self._num_pending])
        os.fsync(self._descriptor)
        digest = hashlib.sha256(index).digest()
        preamble = _PREAMBLE.pack(MAGIC, VERSION, 0, begin, len(index), digest)
        os.pwrite(self._descriptor, preamble, 0)
        os.fsync(self._descriptor)

    def _append(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        self.num_bytes += left.nbytes
        while left.nbytes:
            taken = left[: _CHUNK - self._num_pending]
            self._pending[self._num_pending : self._num_pending + taken.nbytes] = taken
            self._num_pending += taken.nbytes
            left = left[taken.nbytes :]
            if self._num_pending == _CHUNK:
                self._write(memoryview(self._pending))
                self._num_pending = 0

    def _write(self, data: memoryview) -> None:
        while data.nbytes:
            data = data[os.write(self._descriptor, data) :]


def _read_index(file: Any, size: int) -> bytes:
    preamble = file.read(_PREAMBLE.size)
    if len(preamble) < _PREAMBLE.size:
        raise DamagedEntryError(f"it has {size} bytes, fewer than a preamble")
    magic, version, zero, begin, num_bytes, digest = _PREAMBLE.unpack(preamble)
    if magic != MAGIC or zero != 0:
        raise DamagedEntryError("it does not begin like a cache file")
    if version != VERSION:
        raise DamagedEntryError(f"its format has version {version}, not {VERSION}")
    if begin < _PREAMBLE.size or num_bytes > _MAX_INDEX_BYTES or begin + num_bytes != size:
        raise DamagedEntryError(f"it should have {begin + num_bytes:,} bytes, but has {size:,}")
    file.seek(begin)
    index = file.read(num_bytes)
    if hashlib.sha256(index).digest() != digest:
        raise DamagedEntryError("the checksum of its index is wrong")
    return index


def _parse_index(index: bytes, end: int) -> tuple[EntryKey, dict[str, Section]]:
    """The key and the sections, which lie before `end`; the checksum says nothing of who wrote them."""
    try:
        parsed = json.loads(index)
        key = EntryKey(parsed["kind"], parsed["name"], parsed["what"], parsed["state"])
        sections = {name: Section(*values) for name, *values in parsed["sections"]}
        for section in sections.values():
            begin, num_bytes = section.begin, section.num_bytes
            is_inside = num_bytes >= 0 and _PREAMBLE.size <= begin <= begin + num_bytes <= end
            if begin % ALIGNMENT or not is_inside:
                raise DamagedEntryError("a section lies outside of it")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedEntryError(f"its index cannot be read: {error}") from error
    return key, sections
