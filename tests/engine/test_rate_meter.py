"""The measured rate: of work alone, of late rather than ever, and what it says of a backlog."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.engine.rate_meter import MOST_SECONDS, UNKNOWN_SECONDS, RateMeter


def test_nothing_is_known_before_anything_was_measured():
    meter = RateMeter()
    assert meter.tokens_per_second is None
    assert meter.seconds_for(10**6) == UNKNOWN_SECONDS
    meter.add(0, 0.5)  # a step without tokens says nothing of the rate
    assert meter.seconds_for(10**6) == UNKNOWN_SECONDS


@given(st.floats(1, 1e4), st.floats(1e-4, 1), st.integers(1, 200), st.integers(0, 10**6))
def test_a_steady_rate_is_found_and_gives_the_time(rate, seconds, steps, backlog):
    meter = RateMeter()
    for _ in range(steps):
        meter.add(rate * seconds, seconds)
    assert meter.tokens_per_second == pytest.approx(rate)
    assert meter.seconds_for(backlog) == pytest.approx(min(max(backlog / rate, 1.0), MOST_SECONDS))


def test_what_is_long_past_is_forgotten():
    meter = RateMeter()
    for _ in range(1000):
        meter.add(1000, 1.0)
    for _ in range(300):
        meter.add(10, 1.0)
    assert meter.tokens_per_second == pytest.approx(10, rel=0.05)
