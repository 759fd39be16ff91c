"""What changes while the load stays the same: growth of the process, drift of latencies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.bench.soak.load import Ended

WARM_UP_SHARE = 0.5  # of the samples: until then caches fill
LEAST_REQUESTS = 5  # of a kind in a third
CONFIDENCE = 0.95
NUM_RESAMPLES = 1000


def growth(samples: Sequence[dict[str, float]], name: str) -> dict[str, float] | None:
    """Slope per hour by least squares once caches are full, and its confidence interval.

    The interval takes samples for independent of each other, which a process's memory is not: it is too
    narrow rather than too wide. None: too few samples.
    """
    from scipy.stats import linregress, t

    late = [sample for sample in samples[int(len(samples) * WARM_UP_SHARE) :] if name in sample]
    if len(late) < 3:
        return None
    values = [sample[name] for sample in late]
    if max(values) == min(values):
        return {"per_hour": 0.0}
    fit = linregress([sample["seconds"] / 3600 for sample in late], values)
    slope, half = float(fit.slope), float(t.ppf((1 + CONFIDENCE) / 2, len(late) - 2) * fit.stderr)
    return {"per_hour": slope, "per_hour_low": slope - half, "per_hour_high": slope + half}


def drift(ended: Sequence[Ended], duration: float) -> dict[str, Any] | None:
    """Latency in the last third of the time over that in the first, above 1 where it is slower.

    `kinds`: of each kind's medians. Lengths are drawn, so these vary by themselves; `all` is of all requests,
    each divided by its kind's median, with the interval of a bootstrap. None: no kind has enough requests.
    """
    ratios: dict[str, float] = {}
    thirds: tuple[list[Any], list[Any]] = ([], [])
    for kind in sorted({request.kind for request in ended}):
        of_kind = [request for request in ended if request.kind == kind]
        first = np.array([r.seconds for r in of_kind if r.start < duration / 3])
        last = np.array([r.seconds for r in of_kind if r.start >= duration * 2 / 3])
        if min(len(first), len(last)) >= LEAST_REQUESTS:
            ratios[kind] = float(np.median(last) / np.median(first))
            middle = np.median([r.seconds for r in of_kind])
            thirds[0].append(first / middle)
            thirds[1].append(last / middle)
    if not ratios:
        return None
    return {"all": _ratio(np.concatenate(thirds[0]), np.concatenate(thirds[1])), "kinds": ratios}


def _ratio(first: NDArray[np.float64], last: NDArray[np.float64]) -> dict[str, Any]:
    """Of the medians, with the percentile bootstrap's interval (Efron 1979)."""
    from scipy.stats import bootstrap

    def statistic(before: Any, after: Any, axis: int) -> Any:
        return np.median(after, axis=axis) / np.median(before, axis=axis)

    interval = bootstrap(
        (first, last),
        statistic,
        n_resamples=NUM_RESAMPLES,
        batch=100,
        vectorized=True,
        paired=False,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return {
        "ratio": float(statistic(first, last, 0)),
        "interval_95": [float(interval.low), float(interval.high)],
    }
