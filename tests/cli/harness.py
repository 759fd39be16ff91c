"""Runs `gradus` as a user does, in a process of its own."""

import subprocess
import sys


def gradus(*arguments: str, stdin: str = "", **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gradus", *map(str, arguments)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=120, check=False, **options
    )
