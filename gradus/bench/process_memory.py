"""What the operating system says of a process's memory, in bytes. Linux; elsewhere nothing is known.

Source: proc_pid_status(5), proc_pid_smaps(5).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Area:
    """A stretch of address space: the file that it shows, or "", and its flags' two-letter names."""

    path: str
    resident: int = 0
    anonymous: int = 0
    flags: set[str] = field(default_factory=set)


def resident_memory(weights: Path, pid: int | str = "self") -> dict[str, int]:
    """Resident bytes by what they are; empty where it is not said.

    `weights`: the folder of packed weights, which are mapped from it, or lie in memory that asks for huge
    pages. The engine's other memory, for keys, values and activations, is reserved without a claim on swap
    (MAP_NORESERVE), which of others only malloc does, for its threads' areas.
    """
    peak, areas = peak_resident(pid), list(_areas(pid))
    if peak is None or not areas:
        return {}
    found = {"resident_bytes": 0, "anonymous_bytes": 0, "weights_bytes": 0, "kv_and_activations_bytes": 0}
    for area in areas:
        found["resident_bytes"] += area.resident
        found["anonymous_bytes"] += area.anonymous
        if area.path.startswith(f"{weights}/") or (not area.path and "hg" in area.flags):
            found["weights_bytes"] += area.resident
        elif not area.path and "nr" in area.flags:
            found["kv_and_activations_bytes"] += area.resident
    return {**found, "peak_bytes": peak}


def peak_resident(pid: int | str = "self") -> int | None:
    """The kernel's high-water mark of resident pages, files' included; None where it does not say."""
    fields = (line.split() for line in _lines(Path(f"/proc/{pid}/status")))
    return next((int(words[1]) * 1024 for words in fields if words[0] == "VmHWM:"), None)


def _areas(pid: int | str) -> Iterator[Area]:
    """A line `from-to perms offset device inode path` opens each; lines `Name: 123 kB` follow."""
    area = Area("")
    for line in _lines(Path(f"/proc/{pid}/smaps")):
        name, *words = line.split(maxsplit=5)
        if not name.endswith(":"):
            area = Area(words[4] if len(words) == 5 else "")
        elif name == "Rss:":
            area.resident = int(words[0]) * 1024
        elif name == "Anonymous:":
            area.anonymous = int(words[0]) * 1024
        elif name == "VmFlags:":  # the last line of each
            area.flags = set(line.split()[1:])
            yield area


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
