"""How much time is left, and whether another lap fits into it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.bench.peers.deadline import FOREVER, Deadline, Pace
from tests.bench.peers.clock import FakeClock

SECONDS = st.integers(1, 1000)


def test_what_is_left_gets_less_and_never_below_nothing():
    clock = FakeClock()
    deadline = Deadline.after(10, clock)
    left = []
    for clock.now in (0, 4, 10, 11):
        left.append(deadline.seconds_left)
    assert left == [10, 6, 0, 0]


def test_a_share_is_of_what_is_left_now():
    clock = FakeClock()
    deadline = Deadline.after(12, clock)
    clock.now = 2
    half = deadline.share(0.5)
    assert half.seconds_left == 5
    clock.now = 6
    assert (half.seconds_left, deadline.seconds_left) == (1, 6)
    assert FOREVER.share(0.1).seconds_left == math.inf


@given(st.lists(SECONDS, min_size=1, max_size=30), SECONDS)
def test_no_lap_after_the_first_begins_that_would_not_fit_and_none_is_left_out_that_would(laps, limit):
    clock = FakeClock()
    pace = Pace(Deadline.after(limit, clock))
    done = []
    for seconds in laps:
        if done and not pace.fits_another:
            break
        with pace.lap():
            clock.now += seconds
        done.append(seconds)
    for count in range(1, len(done)):
        assert sum(done[:count]) + max(done[:count]) <= limit
    if len(done) < len(laps):
        assert sum(done) + max(done) > limit


def test_a_lap_that_fails_was_one_too():
    clock = FakeClock()
    pace = Pace(Deadline.after(10, clock))

    def fail():
        with pace.lap():
            clock.now = 6
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not pace.fits_another
