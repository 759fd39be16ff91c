"""Repeated measurements: their summary, and whether they repeat."""

from collections.abc import Sequence
from typing import Any

import numpy as np

TOLERANCE = 0.05  # of the median, within which repeats should stay


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least, greatest and, of two or more values, the sample's standard deviation."""
    array = np.asarray(values, float)
    found = {"median": float(np.median(array)), "min": float(array.min()), "max": float(array.max())}
    return {**found, "stdev": float(array.std(ddof=1))} if len(array) > 1 else found


def largest_deviation(values: Sequence[float]) -> float | None:
    """How far the farthest value is from the median, as its share; None for one value or a median of 0."""
    array = np.asarray(values, float)
    middle = float(np.median(array))
    if len(array) < 2 or middle == 0:
        return None
    return float(np.abs(array / middle - 1).max())


def repeats(figures: dict[str, Sequence[float]]) -> dict[str, Any]:
    """Whether every figure's repeats stayed within the tolerance, for the evidence's `verification`.

    `beyond` names the figures that did not, with their largest deviation. A figure that was taken once has
    no repeats and says nothing.
    """
    deviations = {name: largest_deviation(values) for name, values in figures.items()}
    known = {name: deviation for name, deviation in deviations.items() if deviation is not None}
    beyond = {name: deviation for name, deviation in known.items() if deviation > TOLERANCE}
    return {"tolerance": TOLERANCE, "within": not beyond if known else None, "beyond": beyond or None}
