"""What this machine can do at most: bytes per second from memory, multiply-adds per second in registers.

A ceiling is the best of several passes, since whatever else runs only slows them down.
"""

from dataclasses import dataclass, field
from typing import Any

import gradus.backends.native._native as _native
from gradus.bench.op_costs import OpCost
from gradus.bench.probe import memory_bandwidth
from gradus.bench.statistics import spread
from gradus.machine import available_memory

MULTIPLY_ADDS = ("f32", "bf16", "int8", "int4")
NUM_PASSES = 7


@dataclass(slots=True)
class Ceilings:
    """Rates that were measured, per number of threads.

    Attributes:
        macs: (kind, threads) -> multiply-adds per second of each pass; absent where there is no such
            instruction.
        reads: threads -> bytes per second of each pass.
    """

    macs: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    reads: dict[int, list[float]] = field(default_factory=dict)

    def bound(self, cost: OpCost, num_threads: int) -> tuple[float, str] | None:
        """The least seconds that an operation can take, and what sets them; None if nothing is known."""
        bounds: list[tuple[float, str]] = []
        if cost.macs and all(self.macs.get((kind, num_threads)) for kind, _ in cost.macs):
            seconds = sum(number / max(self.macs[kind, num_threads]) for kind, number in cost.macs)
            bounds.append((seconds, "arithmetic"))
        if cost.num_bytes is not None and num_threads in self.reads:
            bounds.append((cost.num_bytes / max(self.reads[num_threads]), "memory"))
        return max(bounds, default=None)

    def as_dict(self) -> dict[str, Any]:
        return {
            "multiply_adds_per_second": [
                {"kind": kind, "num_threads": threads, **spread(rates)}
                for (kind, threads), rates in self.macs.items()
            ],
            "read_bytes_per_second": [
                {"num_threads": threads, **spread(rates)} for threads, rates in self.reads.items()
            ],
        }


def measure_ceilings(variant: str, *num_threads: int) -> Ceilings:
    """With each number of threads; `variant` is the kernels', whose instructions are timed."""
    found = Ceilings()
    for threads in sorted(set(num_threads)):
        for kind in MULTIPLY_ADDS:
            rates = _native.time_multiply_adds(variant, kind, threads, NUM_PASSES)
            if rates:
                found.macs[kind, threads] = rates
        found.reads[threads] = memory_bandwidth(threads, available_memory())
    return found
