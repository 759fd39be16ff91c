"""Comparing two sides that took turns: the ratio of each round's pair, its median, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_RESAMPLES = 4000
CONFIDENCE = 95  # per cent


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of the rounds' ratios and its bootstrap interval; above 1, the first side is better."""

    median: float
    interval: tuple[float, float] | None  # None: one round tells nothing about it

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"median": self.median}
        return found if self.interval is None else {**found, f"interval_{CONFIDENCE}": list(self.interval)}


def advantage(ours: Sequence[float], theirs: Sequence[float], *, lower_is_better: bool) -> Ratio:
    """How much better ours is, from rounds that were measured in turns.

    The interval is the percentile bootstrap's over rounds (Efron 1979).
    """
    first, second = np.asarray(ours), np.asarray(theirs)
    ratios = second / first if lower_is_better else first / second
    if len(ratios) == 1:
        return Ratio(float(ratios[0]), None)
    draws = np.random.default_rng(0).integers(len(ratios), size=(NUM_RESAMPLES, len(ratios)))
    medians = np.median(ratios[draws], axis=1)
    tail = (100 - CONFIDENCE) / 2
    low, high = np.percentile(medians, [tail, 100 - tail])
    return Ratio(float(np.median(ratios)), (float(low), float(high)))
