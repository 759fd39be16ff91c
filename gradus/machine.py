"""What the machine is, and what this process may use of it: CPUs by affinity and cgroup, memory that is free.

Linux only reads; elsewhere it falls back to what the standard library knows.
"""

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")

# Instruction sets that matter to kernels; x86's names as Linux writes them, then Arm's.
_FEATURES = {
    "x86": "sse4_2 avx avx2 fma f16c avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 amx_int8 amx_bf16",
    "arm": "asimd asimdhp asimddp i8mm bf16 sve sve2",
}


def cpu_model() -> str:
    """The processor's name; empty where the system does not say."""
    return _cpuinfo("model name")


def cpu_features() -> list[str]:
    """The processor's instruction sets that matter to kernels."""
    flags = set((_cpuinfo("flags") or _cpuinfo("Features")).split())
    return [name for names in _FEATURES.values() for name in names.split() if name in flags]


def last_level_cache() -> int | None:
    """Bytes of the CPU's largest cache, or None where the system does not say."""
    sizes = [_read(path).strip() for path in sorted(_CACHES.glob("index*/size"))]
    return max(
        (int(size[:-1]) * 1024 for size in sizes if size[:-1].isdigit() and size[-1] == "K"), default=None
    )


def available_cpus() -> int:
    """CPUs that this process may run on, at least 1: its affinity mask, cut by a cgroup v2 quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _read(_CGROUP / "cpu.max").split()
    if len(quota) == 2 and quota[0] != "max":
        count = min(count, math.ceil(int(quota[0]) / int(quota[1])))
    return max(1, count)


def available_memory() -> int:
    """Bytes that can be taken without swapping: the kernel's estimate, cut by a cgroup v2 limit."""
    candidates = [_meminfo("MemAvailable"), _cgroup_available()]
    return min((c for c in candidates if c is not None), default=4 << 30)


def total_memory() -> int | None:
    """Bytes of memory, cut by a cgroup v2 limit; None where the system does not say."""
    limit = _read(_CGROUP / "memory.max").strip()
    candidates = [_meminfo("MemTotal"), int(limit) if limit.isdigit() else None]
    return min((c for c in candidates if c is not None), default=None)


def _meminfo(name: str) -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _cpuinfo(name: str) -> str:
    """The first processor's field."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


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
