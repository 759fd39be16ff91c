"""What the machine is: read from files that the test writes."""

import pytest

from gradus import machine

CPUINFO = """processor\t: 0
model name\t: Some CPU @ 2.00GHz
flags\t\t: fpu sse4_2 avx avx2 fma f16c avx512f bogus
processor\t: 1
model name\t: Another
"""
MEMINFO = "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n"


@pytest.fixture
def files(monkeypatch):
    """Paths to their contents; all others are missing."""
    contents = {"/proc/cpuinfo": CPUINFO, "/proc/meminfo": MEMINFO}
    monkeypatch.setattr(machine, "_read", lambda path: contents.get(str(path), ""))
    return contents


def test_the_cpus_name_and_features(files):
    assert machine.cpu_model() == "Some CPU @ 2.00GHz"
    assert machine.cpu_features() == ["sse4_2", "avx", "avx2", "fma", "f16c", "avx512f"]
    files["/proc/cpuinfo"] = "processor\t: 0\nFeatures\t: fp asimd i8mm\n"  # Arm
    assert machine.cpu_model() == ""
    assert machine.cpu_features() == ["asimd", "i8mm"]
    files.clear()
    assert machine.cpu_features() == []


def test_memory_is_cut_by_a_cgroups_limit(files):
    assert machine.total_memory() == 1000 * 1024
    assert machine.available_memory() == 600 * 1024
    files["/sys/fs/cgroup/memory.max"] = "512000\n"
    files["/sys/fs/cgroup/memory.current"] = "112000\n"
    assert machine.total_memory() == 512000
    assert machine.available_memory() == 400000
    files["/sys/fs/cgroup/memory.max"] = "max\n"
    assert machine.total_memory() == 1000 * 1024
    files.clear()
    assert machine.total_memory() is None


def test_cpus_are_cut_by_a_cgroups_quota(files, monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert machine.available_cpus() == 8
    files["/sys/fs/cgroup/cpu.max"] = "250000 100000\n"
    assert machine.available_cpus() == 3
    files["/sys/fs/cgroup/cpu.max"] = "max 100000\n"
    assert machine.available_cpus() == 8


def test_the_largest_cache_is_the_last(tmp_path, monkeypatch):
    for i, size in enumerate(("32K", "1024K", "32768K")):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(size + "\n")
    monkeypatch.setattr(machine, "_CACHES", tmp_path)
    assert machine.last_level_cache() == 32 << 20
    monkeypatch.setattr(machine, "_CACHES", tmp_path / "missing")
    assert machine.last_level_cache() is None
