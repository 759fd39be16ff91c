"""The settings of an engine that are tried, and which is kept."""

import pytest

from gradus.bench.child_process import PeerError
from gradus.bench.peers.candidates import candidates, open_fastest
from gradus.bench.peers.rows import GRADUS, LLAMA, PEER_ENGINES


class Opened:
    def __init__(self, options):
        if options["speed"] is None:
            raise PeerError("this CPU cannot")
        self.speed, self.is_closed = options["speed"], False

    def close(self):
        self.is_closed = True


def choose(*speeds):
    opened = []

    def open_with(options):
        opened.append(Opened(options))
        return opened[-1]

    kept, options = open_fastest([{"speed": speed} for speed in speeds], open_with, lambda one: one.speed)
    return kept, options, opened


def test_the_fastest_is_kept_and_all_others_are_closed():
    kept, options, opened = choose(2, 3, 1)
    assert (kept.speed, options) == (3, {"speed": 3})
    assert [one.is_closed for one in opened] == [True, True, True, False]


def test_a_setting_that_does_not_work_is_passed_over_unless_none_does():
    assert choose(None, 1, None)[0].speed == 1
    for speeds in ([None], [None, None]):
        with pytest.raises(PeerError, match="this CPU cannot"):
            choose(*speeds)


def test_a_single_setting_is_not_tried():
    assert len(choose(1)[2]) == 1


def test_one_sequence_has_the_cache_for_itself():
    assert len(candidates(LLAMA, 1)) == 2
    assert len(candidates(LLAMA, 8)) == 4
    assert candidates(GRADUS, 8) == ({},)
    assert all(len(candidates(engine, 1)) > 1 for engine in PEER_ENGINES)
