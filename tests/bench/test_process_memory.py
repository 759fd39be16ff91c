"""What the system says of this process, against memory of known size that the test takes itself."""

import mmap
import os
from pathlib import Path

from gradus.bench.process_memory import peak_resident, resident_memory

MIB = 1 << 20
NORESERVE = 0x4000  # MAP_NORESERVE of Linux, which the module mmap does not name


def status_bytes(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def test_memory_is_told_apart_by_the_mapping_that_it_is_in(tmp_path):
    before = resident_memory(tmp_path)
    file = tmp_path / "packed"
    file.write_bytes(os.urandom(6 * MIB))
    with file.open("rb") as opened:
        weights = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    reserved = mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
    assert sum(weights[::4096]) > 0  # every page is read
    reserved[: 10 * MIB] = bytes(10 * MIB)
    after = resident_memory(tmp_path)
    grown = {name: (after[name] - before[name]) / MIB for name in after}
    assert abs(grown["weights_bytes"] - 6) < 0.1
    assert abs(grown["kv_and_activations_bytes"] - 10) < 0.5  # not the 64 that are reserved
    for name, field in (("resident_bytes", "VmRSS"), ("anonymous_bytes", "RssAnon")):
        assert abs(after[name] - status_bytes(field)) < 2 * MIB  # the kernel counts these in batches
    reserved.close()
    weights.close()


def test_a_peak_stays_when_memory_is_given_back():
    taken = mmap.mmap(-1, 32 * MIB)
    taken[:] = bytes(32 * MIB)
    high = resident_memory(Path("/nowhere"))["resident_bytes"]
    taken.close()
    assert resident_memory(Path("/nowhere"))["resident_bytes"] <= high - 31 * MIB
    assert peak_resident() >= high - MIB  # the kernel counts in batches


def test_of_a_process_that_is_not_there_nothing_is_known():
    assert resident_memory(Path("/nowhere"), pid=2**22 + 1) == {}
    assert peak_resident(2**22 + 1) is None
