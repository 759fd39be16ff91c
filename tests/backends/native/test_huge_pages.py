"""Weights move into huge pages under those who read them, bit for bit, and do not lie in memory twice."""

import mmap
import os
import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from gradus.backends.native import _native, huge_pages
from gradus.backends.native.huge_pages import HugePageMover, system_has_huge_pages
from tests.backends.native.test_packed_cache import CONFIGS, logits, make_backend

MIB = 1 << 20


@pytest.fixture
def mapped(tmp_path):
    """A map of 21 MiB and a bit that begins anywhere in a file, and what it holds."""
    values = np.random.default_rng(0).integers(0, 256, 23 * MIB, np.uint8)
    path = tmp_path / "file"
    values.tofile(path)
    with path.open("rb") as file:
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(memory, np.uint8)[12345 : 21 * MIB], values[12345 : 21 * MIB]


def mappings(array):
    """What the system maps at the array's addresses: the files' names."""
    begin = array.ctypes.data
    end = begin + array.nbytes
    names = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        first, last = (int(address, 16) for address in fields[0].split("-"))
        if first < end and begin < last:
            names.append(fields[5] if len(fields) > 5 else "")
    return names


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_the_data_stay_and_memory_does_not_double(mapped):
    array, values = mapped
    assert np.array_equal(array, values)
    before = resident()
    moved = _native.move_into_huge_pages(array)
    after = resident()
    assert 18 * MIB <= moved <= 21 * MIB
    assert np.array_equal(array, values)
    assert after - before < 3 * MIB
    assert len(mappings(array)) <= 3  # what was moved is one mapping again, between the file's ends
    assert "" in mappings(array)


def test_steps_go_first(mapped, monkeypatch):
    seen = []
    monkeypatch.setattr(huge_pages, "DELAY_SECONDS", 0)
    monkeypatch.setattr(huge_pages, "LEAST_BYTES", 0)
    monkeypatch.setattr(huge_pages, "system_has_huge_pages", lambda: True)

    def share(memory):
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return 1.0

    monkeypatch.setattr(huge_pages._native, "share_in_huge_pages", share)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    HugePageMover(mapped[0])._thread.join(60)
    assert seen == [max(before, huge_pages.NICENESS)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_who_reads_meanwhile_notices_nothing(mapped):
    array, values = mapped
    expected = int(values.astype(np.uint64).sum())
    sums, done = [], threading.Event()

    def read():
        while not done.is_set() or not sums:
            sums.append(int(array.sum(dtype=np.uint64)))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(3):
        _native.move_into_huge_pages(array)
    done.set()
    for reader in readers:
        reader.join()
    assert set(sums) == {expected}


def test_less_than_a_huge_page_stays_where_it_is(mapped):
    array, _ = mapped
    assert _native.move_into_huge_pages(array[: MIB // 2]) == 0
    assert "" not in mappings(array)


def test_a_share_is_between_nothing_and_all(mapped):
    array, values = mapped
    assert np.array_equal(array, values)
    assert 0 <= _native.share_in_huge_pages(array) <= 1


@pytest.mark.parametrize(("share", "moves"), [(0.0, True), (0.95, False)])
def test_what_lies_in_small_pages_is_moved_and_nothing_else(mapped, monkeypatch, share, moves):
    array, values = mapped
    monkeypatch.setattr(huge_pages, "DELAY_SECONDS", 0)
    monkeypatch.setattr(huge_pages, "LEAST_BYTES", MIB)
    monkeypatch.setattr(huge_pages, "system_has_huge_pages", lambda: True)
    monkeypatch.setattr(_native, "share_in_huge_pages", lambda memory: share)
    mover = HugePageMover(array)
    mover._thread.join()
    assert ("" in mappings(array)) == moves
    assert np.array_equal(array, values)


def test_a_backend_that_closes_first_moves_nothing(mapped, monkeypatch):
    array, _ = mapped
    monkeypatch.setattr(huge_pages, "DELAY_SECONDS", 60)
    monkeypatch.setattr(huge_pages, "LEAST_BYTES", MIB)
    monkeypatch.setattr(huge_pages, "system_has_huge_pages", lambda: True)
    mover = HugePageMover(array)
    mover.stop()
    mover._thread.join(timeout=30)
    assert not mover._thread.is_alive()
    assert "" not in mappings(array)


@pytest.mark.parametrize("text", ["always [madvise] never", "always madvise [never]", None])
def test_a_system_without_huge_pages_is_left_alone(tmp_path, monkeypatch, text):
    path = tmp_path / "enabled"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(huge_pages, "_SYSTEM", path)
    assert system_has_huge_pages() == (text == "always [madvise] never")


@pytest.mark.parametrize("on", [True, False])
def test_a_model_computes_the_same_after_its_weights_have_moved(tmp_path, monkeypatch, on):
    monkeypatch.setenv("GRADUS_CACHE", str(tmp_path))
    config = CONFIGS["uneven, biases"]
    expected = logits(make_backend(config))
    started = []
    monkeypatch.setattr(
        "gradus.backends.native.backend.HugePageMover", lambda memory: started.append(memory) or Idle()
    )
    backend = make_backend(config, huge_pages=on)
    assert len(started) == on
    assert [os.path.dirname(name) for memory in started for name in mappings(memory)] == [
        str(tmp_path / "packed")
    ] * on
    assert np.array_equal(logits(backend), expected)


class Idle:
    def stop(self):
        pass
