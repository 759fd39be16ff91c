"""What the system says of a process's memory, against memory of known size that the process takes.

The process is a child: one that reads of itself changes what it reads, for the text of its maps takes memory.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradus.bench.process_memory import peak_resident, resident_memory

MIB = 1 << 20
PROGRAM = """
import mmap, sys
NORESERVE = 0x4000  # MAP_NORESERVE of Linux, which the module mmap does not name
print("started", flush=True)
input()
with open(sys.argv[1], "rb") as opened:
    weights = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
assert sum(weights[::4096]) > 0  # every page is read
reserved = mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
reserved[: 10 << 20] = bytes(10 << 20)
print("taken", flush=True)
input()
reserved.close()
print("given back", flush=True)
input()
"""


class Child:
    """The process that runs PROGRAM; each `step` lets it go on to its next line of output."""

    def __init__(self, process: subprocess.Popen):
        self.process, self.pid = process, process.pid
        assert process.stdout.readline() == "started\n"

    def step(self, line):
        print(file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == f"{line}\n"

    def status_bytes(self, field):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@pytest.fixture
def child(tmp_path) -> Iterator[Child]:
    (tmp_path / "packed").write_bytes(os.urandom(6 * MIB))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "packed")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Child(process)
        process.kill()


def test_memory_is_told_apart_by_the_mapping_that_it_is_in(child, tmp_path):
    before = resident_memory(tmp_path, child.pid)
    child.step("taken")
    after = resident_memory(tmp_path, child.pid)
    assert before["weights_bytes"] == 0
    assert abs(after["weights_bytes"] - 6 * MIB) < 0.1 * MIB
    grown = after["kv_and_activations_bytes"] - before["kv_and_activations_bytes"]
    assert abs(grown - 10 * MIB) < 0.5 * MIB  # not the 64 that are reserved
    assert abs(after["resident_bytes"] - child.status_bytes("VmRSS")) < MIB
    assert abs(after["anonymous_bytes"] - child.status_bytes("RssAnon")) < MIB


def test_a_peak_stays_when_memory_is_given_back(child, tmp_path):
    child.step("taken")
    high = resident_memory(tmp_path, child.pid)["resident_bytes"]
    child.step("given back")
    assert resident_memory(tmp_path, child.pid)["resident_bytes"] <= high - 9 * MIB
    assert peak_resident(child.pid) >= high - 4 * MIB  # the kernel counts a peak in batches for each CPU


def test_of_a_process_that_is_not_there_nothing_is_known():
    assert resident_memory(Path("/nowhere"), pid=2**22 + 1) == {}
    assert peak_resident(2**22 + 1) is None
