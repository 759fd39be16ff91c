"""Ratios of rounds that took turns."""

import numpy as np
import pytest

from gradus.bench.ratios import advantage


def test_a_ratio_says_how_many_times_better_ours_is():
    faster = advantage([20.0, 30.0, 40.0], [10.0, 10.0, 10.0], lower_is_better=False)
    assert faster.median == 3.0
    shorter = advantage([1.0, 1.0, 1.0], [2.0, 3.0, 4.0], lower_is_better=True)
    assert shorter.median == 3.0


def test_a_drift_that_both_sides_share_does_not_widen_the_interval():
    drift = np.array([1.0, 2.0, 0.5, 3.0, 1.5])
    ratio = advantage(2 * drift, drift, lower_is_better=False)
    assert (ratio.median, ratio.interval) == (2.0, (2.0, 2.0))


def test_the_interval_is_that_of_all_possible_resamples():
    ratios = [1.0, 2.0, 4.0]
    found = advantage(ratios, [1.0, 1.0, 1.0], lower_is_better=False)
    # Of the 27 resamples' medians 7 are 1, 13 are 2 and 7 are 4, so the outer 2.5 % are 1 and 4.
    assert found.as_dict() == {"median": 2.0, "interval_95": [1.0, 4.0]}


def test_it_is_the_same_every_time():
    ours, theirs = [3.1, 2.9, 3.3, 3.0, 2.7], [1.1, 0.9, 1.0, 1.2, 1.0]
    assert advantage(ours, theirs, lower_is_better=False) == advantage(ours, theirs, lower_is_better=False)
    assert advantage(ours, theirs, lower_is_better=False).median == pytest.approx(2.9 / 0.9, rel=0.2)


def test_one_round_has_no_interval():
    assert advantage([3.0], [1.0], lower_is_better=False).as_dict() == {"median": 3.0}
