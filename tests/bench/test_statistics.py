"""Summaries of repeated measurements, against numpy and by hand."""

import numpy as np
import pytest

from gradus.bench.statistics import largest_deviation, repeats, spread


def test_a_spread_is_median_least_greatest_and_the_samples_deviation():
    values = [3.0, 9.0, 4.0, 5.0]
    found = spread(values)
    assert found == {"median": 4.5, "min": 3.0, "max": 9.0, "stdev": pytest.approx(np.std(values, ddof=1))}
    assert spread([2.0]) == {"median": 2.0, "min": 2.0, "max": 2.0}  # one value does not deviate


def test_the_largest_deviation_is_of_the_value_farthest_from_the_median():
    assert largest_deviation([10.0, 9.0, 10.5]) == pytest.approx(0.1)
    assert largest_deviation([10.0]) is None
    assert largest_deviation([0.0, 0.0]) is None


def test_what_does_not_repeat_is_named():
    found = repeats({"steady": [100.0, 104.9, 95.1], "loose": [100.0, 106.0, 100.0]})
    assert found == {"tolerance": 0.05, "within": False, "beyond": {"loose": pytest.approx(0.06)}}
    assert repeats({"steady": [100.0, 104.0]})["within"] is True
    assert repeats({"once": [100.0]})["within"] is None
