"""Moves mapped weights into huge pages, where the file system keeps them in small ones; off the start's path.

Knows when; C++ knows how (csrc/huge_pages.h).
"""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradus.backends.native._native as _native

DELAY_SECONDS = 1.0  # the first tokens go first; by then a good part of the weights has been touched
ENOUGH = 0.9  # of the resident weights in huge pages
LEAST_BYTES = 32 << 20  # smaller weights stay in the CPU's cache, or nearly
NICENESS = 10  # a tenth of a CPU where a step wants it too, so that a busy engine gets its pages
_SYSTEM = Path("/sys/kernel/mm/transparent_hugepage/enabled")


class HugePageMover:
    """A thread that looks once, moves what is worth it, and ends. `stop` forgoes what has not begun."""

    def __init__(self, memory: Any) -> None:
        """`memory`: the file's whole map, a read-only array of bytes."""
        self._memory = memory
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="huge-pages", daemon=True)
        if len(memory) >= LEAST_BYTES and system_has_huge_pages():
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        with suppress(OSError):  # steps go first: Linux counts this thread alone
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        if not self._stop.wait(DELAY_SECONDS) and _native.share_in_huge_pages(self._memory) < ENOUGH:
            _native.move_into_huge_pages(self._memory)


def system_has_huge_pages() -> bool:
    """Whether the system gives huge pages to who asks for them."""
    try:
        return "[never]" not in _SYSTEM.read_text()
    except OSError:
        return False
