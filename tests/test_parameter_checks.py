"""How values look in refusals: short, and in JSON's words."""

import pytest

from gradus.errors import context_overflow, counted
from gradus.parameter_checks import invalid, show


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "null"),
        (True, "true"),
        ([False, None], "[false, null]"),
        ({"a": {"b": True}}, "{'a': {'b': true}}"),
        ("x", "'x'"),
        (0.5, "0.5"),
        ([1, 2, 3, 4], "[1, 2, 3, ...]"),
    ],
)
def test_values_are_shown_in_the_words_of_json(value, shown):
    assert show(value) == shown
    assert str(invalid("field", value, "must not be")) == f"field is {shown}; it must not be"


def test_what_is_shown_is_short():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, [[1] * 1000] * 1000, dict.fromkeys(range(1000), "y" * 100)):
        assert len(show(value)) < 300


def test_one_is_no_plural():
    assert [counted(number, "token") for number in (0, 1, 2, 4096)] == [
        "0 tokens",
        "1 token",
        "2 tokens",
        "4,096 tokens",
    ]
    assert "the prompt has 1 token and" in str(context_overflow(1, 99, 50))
