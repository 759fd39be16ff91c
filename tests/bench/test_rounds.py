"""Sides take turns, and what they gave is told apart."""

import pytest

from gradus.bench.rounds import Side, take_turns
from gradus.errors import ConfigError


def order_of(num_sides, num_rounds, **options):
    """Which side ran when, by its number."""
    calls = []
    sides = [Side(str(i), lambda index, i=i: calls.append(i) or {}) for i in range(num_sides)]
    take_turns(sides, num_rounds, lambda name: None, **options)
    return calls


def test_no_side_always_runs_after_another():
    order = order_of(3, 4, warm_up=False)
    rounds = [order[start : start + 3] for start in range(0, 12, 3)]
    for one in range(3):
        for other in set(range(3)) - {one}:
            assert sum(found.index(one) < found.index(other) for found in rounds) == 2


def test_sides_that_build_on_those_before_keep_their_order():
    assert order_of(2, 2, alternates=False) == [0, 1] * 3


def test_sides_take_turns_and_the_warm_up_is_left_out():
    calls, reports = [], []

    def side(name, factor):
        def run(index):
            calls.append((name, index))
            return {"speed": factor * (1 + index), **({"only_a": 1.0} if name == "a" else {})}

        return Side(name, run)

    found = take_turns([side("a", 2.0), side("b", 1.0)], 2, reports.append)
    assert calls == [("b", 0), ("a", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2)]
    assert len(reports) == 6
    assert found.values("a", "speed") == [4.0, 6.0]
    assert found.values("b", "only_a") == []
    assert found.names("a") == ["speed", "only_a"]
    assert found.summary("b")["speed"]["median"] == 2.5
    assert found.ratio("speed", "a", "b", lower_is_better=False).median == 2.0
    assert found.runs() == [
        {"side": "a", "round": 1, "speed": 4.0, "only_a": 1.0},
        {"side": "b", "round": 1, "speed": 2.0},
        {"side": "a", "round": 2, "speed": 6.0, "only_a": 1.0},
        {"side": "b", "round": 2, "speed": 3.0},
    ]
    assert found.repeats("speed")["beyond"] == {
        "a: speed": pytest.approx(0.2),
        "b: speed": pytest.approx(0.2),
    }


def test_without_a_warm_up_every_run_counts():
    found = take_turns([Side("a", lambda index: {"x": float(index)})], 2, lambda name: None, warm_up=False)
    assert found.values("a", "x") == [1.0, 2.0]


def test_no_rounds_are_refused():
    with pytest.raises(ConfigError, match="runs is 0"):
        take_turns([], 0, lambda name: None)
