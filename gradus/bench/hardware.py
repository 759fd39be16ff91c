"""The machine that a measurement ran on, as far as it can be found out; what cannot be is absent."""

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from gradus.machine import available_cpus, cpu_features, cpu_model, total_memory

_CPUS = Path("/sys/devices/system/cpu")
_GPU_FIELDS = ("name", "memory.total", "driver_version")


@cache
def hardware() -> dict[str, Any]:
    """CPU, its caches and cores, memory, virtualization, and GPUs with their driver."""
    found = {
        "cpu": cpu_model() or None,
        "cpu_features": cpu_features() or None,
        "num_logical_cpus": _num_logical_cpus(),
        "num_cores": _num_cores(),
        "cpus_used_at_most": available_cpus(),
        "caches": _caches() or None,
        "memory_bytes": total_memory(),
        "governor": _read(_CPUS / "cpu0/cpufreq/scaling_governor"),
        "virtualization": _virtualization(),
        "gpus": _gpus() or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _num_logical_cpus() -> int | None:
    return len(list(_CPUS.glob("cpu[0-9]*"))) or None


def _num_cores() -> int | None:
    """Cores, each counted once however many threads it runs."""
    siblings = {_read(path) for path in _CPUS.glob("cpu[0-9]*/topology/thread_siblings_list")}
    return len(siblings - {None}) or None


def _caches() -> list[dict[str, Any]]:
    """Those that the first CPU uses, with how many CPUs share each."""
    found = []
    for folder in sorted(_CPUS.glob("cpu0/cache/index*")):
        level, kind, size = (_read(folder / name) for name in ("level", "type", "size"))
        if level is None or kind is None or size is None or not size.endswith("K"):
            continue
        shared = _read(folder / "shared_cpu_list")
        cache = {"level": int(level), "type": kind.lower(), "bytes": int(size[:-1]) * 1024}
        found.append(cache if shared is None else {**cache, "shared_by_cpus": shared})
    return found


def _virtualization() -> str | None:
    """The hypervisor's vendor by `lscpu`; "unknown" where that is not there, None on bare metal."""
    if " hypervisor" not in (_read(Path("/proc/cpuinfo")) or ""):
        return None
    lines = (_output(["lscpu"]) or "").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return fields.get("Hypervisor vendor", "unknown").strip()


def _gpus() -> list[dict[str, str]]:
    """NVIDIA's, by the driver's own tool; none where it is not there."""
    command = ["nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader"]
    names = ("name", "memory", "driver")
    return [dict(zip(names, line.split(", "), strict=True)) for line in (_output(command) or "").splitlines()]


def _output(command: list[str]) -> str | None:
    """What a command prints in its language of origin; None if it is not there or fails."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True, env=environment
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except OSError:
        return None
