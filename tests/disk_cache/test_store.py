"""The cache folder: what is found, what is stale, who is evicted, and two processes that write."""

import errno
import logging
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from gradus.disk_cache import store
from gradus.disk_cache.store import DiskCache


def put(cache, key, size=1000, **changes):
    key = replace(key, **changes)
    with cache.create(key) as writer:
        writer.add("data", bytes(size))
    return cache.path_of(key)


def use(path, seconds):
    """Say that the file was used so many seconds ago."""
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - seconds))


def test_nothing_is_found_before_it_is_written(cache, key):
    assert cache.find(key) is None
    put(cache, key)
    assert cache.find(key).data("data") == bytes(1000)
    assert [file.path for file in cache.files()] == [cache.path_of(key)]


@pytest.mark.parametrize(
    "state", [{}, {"layout": 2, "files": [[1, 2, "x"]]}, {"layout": 1, "files": [[1, 3, "x"]]}]
)
def test_another_state_is_stale_and_replaced(cache, key, state):
    put(cache, key)
    changed = replace(key, state=state)
    assert cache.find(changed) is None
    put(cache, key, state=state)
    assert cache.find(changed) is not None
    assert cache.find(key) is None
    assert len(cache.files()) == 1


def test_different_things_lie_side_by_side(cache, key):
    put(cache, key)
    put(cache, key, what={"files": ["/a/c"]})
    put(cache, key, kind="tokenizer")
    assert len(cache.files()) == 3
    assert cache.find(key) is not None


def test_a_damaged_file_is_reported_and_not_used(cache, key, caplog):
    path = put(cache, key)
    path.write_bytes(path.read_bytes()[:-5])
    assert cache.find(key) is None
    assert str(path) in caplog.text
    put(cache, key)
    assert cache.find(key) is not None


def test_the_least_recently_used_are_evicted(tmp_path, key):
    cache = DiskCache(tmp_path, max_bytes=5000)
    paths = [put(cache, key, what={"n": n}) for n in range(3)]
    for path, seconds in zip(paths, (30, 20, 10), strict=True):
        use(path, seconds)
    assert cache.find(replace(key, what={"n": 0})) is not None  # the oldest is now the last used
    new = put(cache, key, what={"n": 3})
    assert paths[0].exists()
    assert not paths[1].exists()
    assert new.exists()
    assert sum(file.num_bytes for file in cache.files()) <= 5000


def test_what_is_larger_than_the_cache_is_not_kept_and_evicts_nothing(tmp_path, key, caplog):
    cache = DiskCache(tmp_path, max_bytes=5000)
    put(cache, key)
    put(cache, key, size=6000, what={"n": 1})
    assert "larger than the cache" in caplog.text
    assert len(cache.files()) == 1
    assert os.listdir(tmp_path / "packed") == [cache.path_of(key).name]


def test_an_exception_leaves_nothing_behind(cache, key):
    def write_and_fail():
        with cache.create(key) as writer:
            writer.add("data", b"abc")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert os.listdir(cache.folder / "packed") == []


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_is_a_warning(cache, key, caplog, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    put(cache, key, size=20 << 20)
    monkeypatch.undo()
    assert "No space left on device" in caplog.text
    assert caplog.text.count("is not cached") == 1
    assert os.listdir(cache.folder / "packed") == []


def test_the_disk_is_not_filled_to_the_brim(cache, key, caplog, monkeypatch):
    monkeypatch.setattr(store, "DISK_RESERVE", 1 << 60)
    put(cache, key)
    assert "the disk has less than" in caplog.text
    assert cache.files() == []


def test_a_folder_that_cannot_be_written_to_is_a_warning(tmp_path, key, caplog):
    (tmp_path / "file").write_text("")
    cache = DiskCache(tmp_path / "file" / "cache", max_bytes=1 << 30)
    put(cache, key)
    assert "is not cached" in caplog.text
    assert cache.find(key) is None
    assert cache.files() == []
    assert cache.clear() == []


def test_an_entry_in_a_folder_that_became_read_only_is_still_used(cache, key, monkeypatch, caplog):
    put(cache, key)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    for name in ("utime", "replace", "unlink", "open"):
        monkeypatch.setattr(os, name, refuse)
    assert cache.find(key) is not None
    with caplog.at_level(logging.WARNING):
        put(cache, key, what={"n": 1})
    assert "Permission denied" in caplog.text


def test_two_writers_of_one_entry_both_succeed(cache, key):
    with cache.create(key) as first, cache.create(key) as second:
        first.add("data", b"first")
        second.add("data", b"second")
        assert cache.find(key) is None
    assert cache.find(key).data("data") == b"first"  # the outer one is left last
    assert os.listdir(cache.folder / "packed") == [cache.path_of(key).name]


def test_processes_that_write_and_read_at_once_see_whole_entries(tmp_path):
    code = """
import sys
from gradus.disk_cache.store import DiskCache, EntryKey
from pathlib import Path
cache = DiskCache(Path(sys.argv[1]), max_bytes=1 << 24)
key = EntryKey("packed", "m", {"m": 1}, {})
mine = bytes([int(sys.argv[2])]) * 300_000
for _ in range(40):
    with cache.create(key) as writer:
        writer.add("data", mine)
    entry = cache.find(key)
    entry.verify()
    assert len(set(entry.data("data"))) == 1 and len(entry.data("data")) == 300_000
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(n)], stderr=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert (writer.returncode, errors) == (0, "")
    assert len(os.listdir(tmp_path / "packed")) == 1


def test_what_a_killed_writer_left_is_swept_and_what_a_live_one_writes_is_not(cache, key):
    with cache.create(key) as writer:
        writer.add("data", b"alive")
        use(next(cache.folder.glob("*/*.unfinished")), seconds=3600)
        dead = cache.folder / "packed" / "dead.unfinished"
        dead.write_bytes(b"x" * 100)
        cache.evict()
        assert dead.exists()  # its writer may not have locked it yet
        use(dead, seconds=3600)
        cache.evict()
        assert not dead.exists()
    assert cache.find(key).data("data") == b"alive"


def test_clearing_deletes_files_that_are_in_use_without_harm(cache, key):
    put(cache, key)
    view = cache.find(key).data("data")
    assert len(cache.clear()) == 1
    assert cache.files() == []
    assert view == bytes(1000)
