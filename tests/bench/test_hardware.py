"""The machine as the system's own tools describe it."""

import os
import shutil
import subprocess

from gradus.bench.hardware import hardware


def test_what_is_said_agrees_with_the_system():
    found = hardware()
    assert None not in found.values()
    assert 1 <= found["cpus_used_at_most"] <= found.get("num_logical_cpus", os.cpu_count())
    assert found.get("num_cores", 1) <= found.get("num_logical_cpus", 1)
    if shutil.which("getconf") and "caches" in found:
        size = subprocess.run(
            ["getconf", "LEVEL1_DCACHE_SIZE"], capture_output=True, text=True
        ).stdout.strip()
        data = [cache["bytes"] for cache in found["caches"] if (cache["level"], cache["type"]) == (1, "data")]
        assert not size or int(size) in (0, *data)  # 0: libc does not know
