"""Durations as people write them."""

import argparse

import pytest

from gradus.cli.durations import duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("0.5", 0.5), ("45s", 45), ("10m", 600), ("1h", 3600), ("1.5h", 5400)]
)
def test_units_are_seconds_minutes_and_hours(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1d", "an hour", "-1s", "inf", "nan"])
def test_anything_else_is_refused_with_what_would_work(text):
    with pytest.raises(argparse.ArgumentTypeError, match="90, 45s, 10m or 1h"):
        duration(text)
