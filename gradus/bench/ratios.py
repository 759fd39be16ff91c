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
    return Ratio(float(np.median(ratios)), median_interval(ratios))


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The bootstrap interval of the median; None for a single value."""
    from scipy.stats import bootstrap

    if len(values) < 2:
        return None
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    interval = bootstrap(
        (values,),
        np.median,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE / 100,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)
