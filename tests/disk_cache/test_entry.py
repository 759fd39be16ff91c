"""A cached file gives back what was written, or says that it is damaged: never something else."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradus.disk_cache.entry import DamagedEntryError, Entry

SECTIONS = {"empty": b"", "few bytes": b"abc", "a page and a bit": bytes(range(256)) * 17}


@pytest.fixture
def path(cache, key):
    with cache.create(key) as writer:
        for name, data in SECTIONS.items():
            writer.add(name, data, {"length": len(data), "nested": {"list": [1, "é"]}})
    return cache.path_of(key)


def test_what_was_written_is_read_back(path, key):
    entry = Entry(path)
    assert list(entry.names()) == list(SECTIONS)
    for name, data in SECTIONS.items():
        assert entry.data(name) == data
        assert entry.meta(name) == {"length": len(data), "nested": {"list": [1, "é"]}}
        assert entry.data(name).readonly
    entry.verify()
    assert (entry.key.kind, entry.key.name, entry.key.what) == (key.kind, key.name, key.what)


def test_sections_of_many_mebibytes_survive_in_any_alignment(cache, key):
    random = np.random.default_rng(0)
    sections = {str(n): random.integers(0, 256, n, np.uint8) for n in (1, 4 << 20, (4 << 20) - 3, 9_000_001)}
    with cache.create(key) as writer:
        for name, data in sections.items():
            writer.add(name, data)
    entry = cache.find(key)
    for name, data in sections.items():
        found = np.frombuffer(entry.data(name), np.uint8)
        assert np.array_equal(found, data)
        assert found.ctypes.data % 64 == 0
    entry.verify()


def test_views_outlive_the_entry_and_the_file(path):
    view = Entry(path).data("a page and a bit")
    path.unlink()
    assert view == SECTIONS["a page and a bit"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found(path, position, bit):
    """In the header or the index when the file is opened, in a section by `verify`; padding holds nothing."""
    good = path.read_bytes()
    damaged = bytearray(good)
    position %= len(good)
    damaged[position] ^= 1 << bit
    copy = path.with_name("damaged.gradus")
    copy.write_bytes(damaged)
    entry = None
    try:
        entry = Entry(copy)
        entry.verify()
    except DamagedEntryError:
        begins = [good.find(data) for data in SECTIONS.values() if data]
        is_payload = any(
            begin <= position < begin + len(data)
            for begin, data in zip(begins, filter(None, SECTIONS.values()), strict=True)
        )
        assert (entry is not None) == is_payload
    else:
        assert good[position] == 0
        assert all(entry.data(name) == data for name, data in SECTIONS.items())


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000, -1])
def test_a_truncated_file_is_damaged(path, length):
    good = path.read_bytes()
    path.write_bytes(good[:length])
    with pytest.raises(DamagedEntryError, match="bytes"):
        Entry(path)


def test_a_file_with_something_behind_it_is_damaged(path):
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedEntryError, match="bytes"):
        Entry(path)


@pytest.mark.parametrize("content", [b"x" * 100, b"GRADUS\r\n" + b"\xff" * 100, b"\0" * 4096])
def test_other_files_are_not_taken_for_one(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DamagedEntryError):
        Entry(path)


def test_sections_outside_the_file_are_refused_though_the_checksum_is_right(tmp_path):
    import hashlib
    import json
    import struct

    def write(sections):
        index = json.dumps({"kind": "k", "name": "n", "what": {}, "state": {}, "sections": sections}).encode()
        digest = hashlib.sha256(index).digest()
        path = tmp_path / "crafted"
        path.write_bytes(
            struct.pack("<8sIIQQ32s", b"GRADUS\r\n", 1, 0, 128, len(index), digest) + b"\0" * 64 + index
        )
        return path

    assert Entry(write([["s", 64, 64, "", {}]])).data("s").nbytes == 64
    for section in (
        ["s", 64, 65, "", {}],
        ["s", 128, 1, "", {}],
        ["s", 0, 8, "", {}],
        ["s", 65, 8, "", {}],
        ["s", 64, -1, "", {}],
        ["s", -64, 8, "", {}],
        ["s", 1 << 70, 1 << 70, "", {}],
        ["s", "64", 8, "", {}],
        ["s"],
        "s",
        3,
    ):
        with pytest.raises(DamagedEntryError):
            Entry(write([section]))


def test_numpy_is_not_needed():
    code = "import sys; import gradus.disk_cache.store; print('numpy' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout == "False\n"


def test_files_are_their_owners_alone(path, cache):
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(cache.folder).st_mode & 0o777 == 0o700
    assert os.stat(path.parent).st_mode & 0o777 == 0o700
