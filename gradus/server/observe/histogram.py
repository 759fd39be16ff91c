"""A histogram that costs a bisection per observation. Knows nothing of who exports it."""

from bisect import bisect_left
from collections.abc import Sequence

# Seconds: a step of a small model takes well under a millisecond, a queue may take minutes.
SECONDS = tuple(digit * 10.0**exponent for exponent in range(-4, 2) for digit in (1.0, 2.5, 5.0))
TOKENS = tuple(digit * 10**exponent for exponent in range(6) for digit in (1, 2, 5))


class Histogram:
    """Observations by class: class i holds values of at most `bounds[i]` that are in no class before it.

    The last class has no bound.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times
