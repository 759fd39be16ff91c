"""The settings of an engine that are tried, and which is kept."""

import pytest

from gradus.bench.child_process import PeerError
from gradus.bench.peers.candidates import Candidates, candidates, open_fastest
from gradus.bench.peers.rows import GRADUS, LLAMA, PEER_ENGINES


class Opened:
    """As fast as the sum of its settings; one that is None does not work."""

    def __init__(self, options):
        if None in options.values():
            raise PeerError("this CPU cannot")
        self.speed, self.is_closed = sum(options.values()), False

    def close(self):
        self.is_closed = True


def choose(*changes):
    opened = []

    def open_with(options):
        opened.append(Opened(options))
        return opened[-1]

    tried = Candidates(changes[0], changes[1:])
    kept, options = open_fastest(tried, open_with, lambda engine: engine.speed)
    return kept, options, opened


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


def test_one_sequence_has_the_cache_for_itself():
    assert {"kv_unified": True} in candidates(LLAMA, 8).changes
    assert {"kv_unified": True} not in candidates(LLAMA, 1).changes
    assert candidates(GRADUS, 8) == Candidates({})
    assert all(candidates(engine, 1).changes for engine in PEER_ENGINES)
