"""Time that runs out, and whether another lap still fits. Knows a clock, and nothing of what is measured."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds since some moment."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment by a clock; infinity never comes."""

    moment: float
    clock: Clock = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> "Deadline":
        return cls(clock() + seconds, clock)

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.moment - self.clock())

    def share(self, share: float) -> "Deadline":
        """When this share of what is left now is used."""
        return Deadline.after(share * self.seconds_left, self.clock)


FOREVER = Deadline(math.inf)


@dataclass(slots=True)
class Pace:
    """Laps before a deadline, each of which may take as long as the longest so far."""

    deadline: Deadline
    longest: float = 0.0  # seconds

    @property
    def fits_another(self) -> bool:
        return self.longest <= self.deadline.seconds_left

    @contextmanager
    def lap(self) -> Iterator[None]:
        start = self.deadline.clock()
        try:
            yield
        finally:
            self.longest = max(self.longest, self.deadline.clock() - start)
