"""The settings of an engine that are tried, and which is kept."""

import pytest

from gradus.bench.child_process import PeerError
from gradus.bench.peers.candidates import Candidates, candidates, open_fastest
from gradus.bench.peers.deadline import Deadline
from gradus.bench.peers.rows import GRADUS, LLAMA, PEER_ENGINES
from tests.bench.peers.clock import FakeClock

SECONDS = 10  # of a trial


class Opened:
    """As fast as the sum of its settings; one that is None does not work."""

    def __init__(self, options):
        if None in options.values():
            raise PeerError("this CPU cannot")
        self.speed, self.is_closed = sum(options.values()), False

    def close(self):
        self.is_closed = True


def try_all(*changes, limit=float("inf")):
    opened, clock = [], FakeClock()

    def open_with(options):
        clock.now += SECONDS
        opened.append(Opened(options))
        return opened[-1]

    tried = Candidates(changes[0], changes[1:])
    found = open_fastest(tried, open_with, lambda engine: engine.speed, Deadline.after(limit, clock))
    return found, opened


def choose(*changes):
    found, opened = try_all(*changes)
    assert found.untried == []
    return found.endpoint, found.options, opened


def test_every_change_that_helps_is_kept_with_those_before():
    kept, options, opened = choose({"a": 1, "b": 1}, {"a": 2}, {"b": 0}, {"b": 3})
    assert options == {"a": 2, "b": 3}
    assert [engine.speed for engine in opened] == [2, 3, 2, 5, 5]
    assert [engine for engine in opened if not engine.is_closed] == [kept]


def test_a_setting_that_does_not_work_is_passed_over_unless_none_does():
    assert choose({"a": None}, {"a": 1}, {"a": None})[1] == {"a": 1}
    assert choose({"a": 1}, {"a": None})[1] == {"a": 1}
    for changes in ([], [{"a": None}]):
        with pytest.raises(PeerError, match="this CPU cannot"):
            choose({"a": None}, *changes)


def test_an_engine_without_changes_is_not_tried():
    assert len(choose({"a": 1})[2]) == 1


@pytest.mark.parametrize(
    ("limit", "options", "untried"),
    [
        (0, {"a": 1, "b": 1}, [{"a": 2}, {"b": 0}, {"b": 3}]),
        (19, {"a": 1, "b": 1}, [{"a": 2}, {"b": 0}, {"b": 3}]),
        (20, {"a": 2, "b": 1}, [{"b": 0}, {"b": 3}]),
        (39, {"a": 2, "b": 1}, [{"b": 3}]),
        (40, {"a": 2, "b": 3}, []),
    ],
)
def test_the_best_so_far_is_kept_where_no_time_is_left_for_more(limit, options, untried):
    found, opened = try_all({"a": 1, "b": 1}, {"a": 2}, {"b": 0}, {"b": 3}, limit=limit)
    assert (found.options, found.untried) == (options, untried)
    assert opened[0].speed == 2  # the defaults, however little time there is
    assert opened[-1] is found.endpoint
    assert [engine for engine in opened if not engine.is_closed] == [found.endpoint]


def test_there_is_always_time_to_find_a_setting_that_works():
    found, _ = try_all({"a": None}, {"a": None}, {"a": 1}, {"a": 2}, limit=0)
    assert (found.options, found.untried) == ({"a": 1}, [{"a": 2}])


def test_one_sequence_has_the_cache_for_itself():
    assert {"kv_unified": True} in candidates(LLAMA, 8).changes
    assert {"kv_unified": True} not in candidates(LLAMA, 1).changes
    assert candidates(GRADUS, 8) == Candidates({})
    assert all(candidates(engine, 1).changes for engine in PEER_ENGINES)
