"""Growth and drift, of series whose slope and ratio are known."""

import random

import pytest

from gradus.bench.soak.load import Ended
from gradus.bench.soak.trends import drift, growth


def samples(value, count=100):
    return [{"seconds": float(i), "resident_bytes": value(i)} for i in range(count)]


def test_a_steady_growth_is_found_per_hour():
    found = growth(samples(lambda i: 1000 + 5 * i), "resident_bytes")
    assert found["per_hour"] == pytest.approx(5 * 3600)
    assert found["per_hour_low"] == pytest.approx(5 * 3600)


def test_what_grew_while_caches_filled_is_left_out():
    assert growth(samples(lambda i: 10**6 * min(i, 50)), "resident_bytes") == {"per_hour": 0.0}


def test_the_interval_holds_the_slope_of_a_noisy_series_and_not_zero():
    draw = random.Random(1)
    found = growth(samples(lambda i: 100 * i + draw.gauss(0, 50)), "resident_bytes")
    assert 0 < found["per_hour_low"] < 100 * 3600 < found["per_hour_high"]


def test_what_was_not_sampled_has_no_growth():
    assert growth(samples(lambda i: i), "open_files") is None
    assert growth(samples(lambda i: i, 4), "resident_bytes") is None


def requests(kind, seconds, count=60, duration=60.0):
    return [Ended(kind, duration * i / count, seconds(i)) for i in range(count)]


def test_a_kind_that_becomes_slower_is_found_and_others_are_not():
    ended = requests("slower", lambda i: 1.0 if i < 40 else 2.0) + requests("steady", lambda i: 30.0)
    found = drift(ended, 60.0)
    assert found["kinds"] == {"slower": 2.0, "steady": 1.0}
    assert 1.0 <= found["all"]["ratio"] <= 2.0


def test_the_interval_of_a_steady_load_holds_one_and_of_a_slowing_one_does_not():
    draw = random.Random(2)
    steady = drift(requests("a", lambda i: draw.uniform(1, 2), 300), 60.0)["all"]
    assert steady["interval_95"][0] < 1 < steady["interval_95"][1]
    slowing = drift(requests("a", lambda i: draw.uniform(1, 2) * (1 + i / 100), 300), 60.0)["all"]
    assert 1.5 < slowing["interval_95"][0] < slowing["ratio"] < slowing["interval_95"][1]


def test_too_few_requests_have_no_drift():
    assert drift(requests("rare", lambda i: 1.0, 9), 60.0) is None
    assert drift([], 60.0) is None
