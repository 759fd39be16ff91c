"""What this process may use of the machine: CPUs by affinity and cgroup, memory by what is free.

Linux only reads; elsewhere it falls back to what the standard library knows.
"""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available_cpus() -> int:
    """CPUs that this process may run on, at least 1: its affinity mask, cut by a cgroup v2 quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read(_CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0] != "max":
        count = min(count, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, count)


def available_memory() -> int:
    """Bytes that can be taken without swapping: the kernel's estimate, cut by a cgroup v2 limit."""
    candidates = [_meminfo_available(), _cgroup_available()]
    return min((c for c in candidates if c is not None), default=4 << 30)


def _meminfo_available() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_available() -> int | None:
    limit = _read(_CGROUP / "memory.max").strip()
    used = _read(_CGROUP / "memory.current").strip()
    if not limit.isdigit() or not used.isdigit():
        return None
    return max(0, int(limit) - int(used))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
