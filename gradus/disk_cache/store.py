"""The cache folder: finds entries, adds new ones, and deletes the least recently used ones when it is full.

Two processes may do all of this at once: an entry appears by a rename, when it is complete, and vanishes by
an unlink, which whoever has it mapped does not notice. A cache that cannot be written to is a warning, never
a failure. Knows files; nothing of what is in them.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from gradus.disk_cache.entry import DamagedEntryError, Entry, EntryKey, Json, SectionWriter
from gradus.disk_cache.folder import cache_folder, cache_size

__all__ = ["CachedFile", "DiskCache", "EntryKey"]

logger = logging.getLogger("gradus")

SUFFIX = ".gradus"
_UNFINISHED = ".unfinished"
_NEW_SECONDS = 60
DISK_RESERVE = 512 << 20  # bytes that the cache leaves free on the disk
_KIND = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A file in the cache; `last_used` in seconds since the epoch."""

    path: Path
    num_bytes: int
    last_used: float


class DiskCache:
    """The cache in a folder, by default this user's, of at most `max_bytes`, by default as configured."""

    def __init__(self, folder: Path | None = None, max_bytes: int | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder
        self.max_bytes = cache_size() if max_bytes is None else max_bytes

    def find(self, key: EntryKey) -> Entry | None:
        """The entry of `key`; None where there is none, or one that is damaged or stale."""
        path = self.path_of(key)
        try:
            entry = Entry(path)
        except FileNotFoundError:
            return None
        except (DamagedEntryError, OSError, ValueError) as error:  # mmap's refusals are ValueErrors
            logger.warning("the cached file %s cannot be used and is made anew: %s", path, error)
            return None
        if entry.key != _as_read_back(key):
            logger.info("the cached file %s is stale and is made anew", path)
            return None
        with contextlib.suppress(OSError):  # a read-only folder forgets who was used last
            os.utime(path)
        return entry

    def create(self, key: EntryKey) -> "NewEntry":
        """A context to add sections in; the entry exists once it is left without an exception."""
        return NewEntry(self, key)

    def path_of(self, key: EntryKey) -> Path:
        assert _KIND.fullmatch(key.kind), key.kind
        readable = re.sub(r"[^A-Za-z0-9._-]+", "-", key.name).strip(".-")[:80] or "unnamed"
        digest = hashlib.sha256(json.dumps(key.what, sort_keys=True).encode()).hexdigest()[:16]
        return self.folder / key.kind / f"{readable}-{digest}{SUFFIX}"

    def files(self) -> list[CachedFile]:
        """All cached files, the last used first."""
        found = []
        for path in self.folder.glob(f"*/*{SUFFIX}"):
            with contextlib.suppress(OSError):  # another process may delete it meanwhile
                status = path.stat()
                found.append(CachedFile(path, status.st_size, status.st_mtime))
        return sorted(found, key=lambda file: -file.last_used)

    def evict(self, keep: Path | None = None) -> None:
        """Delete what crashed writers left, then the least recently used files but `keep` until all fit."""
        self._sweep()
        files = self.files()
        excess = sum(file.num_bytes for file in files) - self.max_bytes
        for file in reversed(files):
            if excess <= 0:
                return
            if file.path != keep and self.remove(file.path):
                excess -= file.num_bytes

    def clear(self) -> list[CachedFile]:
        """Delete all files; returns those that are gone."""
        self._sweep()
        return [file for file in self.files() if self.remove(file.path)]

    def remove(self, path: Path) -> bool:
        """Delete one file; False, with a warning, where the system refuses."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("the cached file %s cannot be deleted: %s", path, error.strerror or error)
            return False
        return True

    def _sweep(self) -> None:
        """Delete unfinished files that no writer holds; a new one may not be held yet."""
        for path in self.folder.glob(f"*/*{_UNFINISHED}"):
            with contextlib.suppress(OSError), path.open("rb") as file:  # OSError: its writer is at work
                if time.time() - os.fstat(file.fileno()).st_mtime < _NEW_SECONDS:
                    continue
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


class NewEntry:
    """An entry that is being written. Once the disk refuses, or it grows too large, it is given up."""

    def __init__(self, cache: DiskCache, key: EntryKey) -> None:
        self._cache = cache
        self._path = cache.path_of(key)
        self._key = key
        self._descriptor = -1
        self._temporary = ""
        self._writer: SectionWriter | None = None

    def __enter__(self) -> "NewEntry":
        with self._giving_up():
            for folder in (self._cache.folder, self._path.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{os.getpid()}-{os.urandom(8).hex()}{_UNFINISHED}"
            self._temporary = str(self._path.parent / name)
            self._descriptor = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._writer = SectionWriter(self._descriptor, self._key)
        return self

    def add(self, name: str, data: Any, meta: Json | None = None) -> None:
        """Append a section; `data` is any contiguous buffer."""
        writer, view = self._writer, memoryview(data).cast("B")
        if writer is None:
            return
        with self._giving_up():
            if writer.num_bytes + view.nbytes > self._cache.max_bytes:
                raise OSError(f"it is larger than the cache may be, {self._cache.max_bytes:,} bytes")
            system = os.fstatvfs(self._descriptor)
            if system.f_bavail * system.f_frsize < DISK_RESERVE + view.nbytes:
                raise OSError(f"the disk has less than {DISK_RESERVE >> 20} MiB left")
            writer.add(name, view, meta or {})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._writer is not None:
            with self._giving_up():
                self._writer.finish()
                os.replace(self._temporary, self._path)
                self._temporary = ""
                self._cache.evict(keep=self._path)
        self._discard()

    @contextlib.contextmanager
    def _giving_up(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            logger.warning("%s is not cached in %s: %s", self._key.name, self._path.parent, _reason(error))
            self._discard()

    def _discard(self) -> None:
        self._writer = None
        if self._temporary:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            self._temporary = ""
        if self._descriptor >= 0:
            os.close(self._descriptor)  # and with it the lock
            self._descriptor = -1


def _as_read_back(key: EntryKey) -> EntryKey:
    """The key as JSON gives it back: tuples are lists."""
    return EntryKey(key.kind, key.name, json.loads(json.dumps(key.what)), json.loads(json.dumps(key.state)))


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
