"""Choosing rungs."""

import pytest

from gradus.bench.ladder.rungs import RUNGS, find_rungs
from gradus.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(None, range(10)), ("0,4-8", [0, 4, 5, 6, 7, 8]), ("9", [0, 9]), (" 3 , 1-2,2", [0, 1, 2, 3])],
)
def test_lists_of_numbers(text, numbers):
    assert [rung.number for rung in find_rungs(text)] == list(numbers)


@pytest.mark.parametrize("text", ["", "10", "4-", "-4", "8-4", "a", "1,,2"])
def test_anything_else_is_refused(text):
    with pytest.raises(ConfigError, match="numbers from 0 to 9"):
        find_rungs(text)


def test_the_rungs_are_numbered_from_the_bottom():
    assert [rung.number for rung in RUNGS] == list(range(10))
    assert [rung.is_replay for rung in RUNGS] == [True] * 2 + [False] * 8
