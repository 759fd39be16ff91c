"""How much better one side is than another, and how sure that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 4000
CONFIDENCE = 95  # per cent

Float = NDArray[np.float64]


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


def unpaired_advantage(ours: Sequence[float], theirs: Sequence[float], *, lower_is_better: bool) -> Ratio:
    """How much better ours is, from runs that were not measured in turns: the ratio of medians.

    The interval is the percentile bootstrap's over the runs of each side on its own.
    """
    over, under = (theirs, ours) if lower_is_better else (ours, theirs)
    found = float(np.median(over) / np.median(under))
    if len(over) < 2 or len(under) < 2:
        return Ratio(found, None)
    return Ratio(found, _interval((over, under), _ratio_of_medians))


def _ratio_of_medians(over: Float, under: Float, axis: int = -1) -> Float:
    return np.median(over, axis=axis) / np.median(under, axis=axis)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The bootstrap interval of the median; None for a single value."""
    return _interval((values,), np.median) if len(values) > 1 else None


def _interval(samples: tuple[Sequence[float], ...], statistic: Callable[..., Float]) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if all(np.ptp(values) == 0 for values in samples):  # no resample differs
        exact = float(statistic(*map(np.asarray, samples), axis=-1))
        return exact, exact
    interval = bootstrap(
        samples,
        statistic,
        n_resamples=NUM_RESAMPLES,
        confidence_level=CONFIDENCE / 100,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)
