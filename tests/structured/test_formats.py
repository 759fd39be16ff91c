"""Formats as patterns: a full match is what the standard library, or the RFC's own wording, accepts."""

import re
from datetime import date, datetime, timedelta

import pytest

from gradus.structured.formats import PATTERNS, with_patterns


def is_format(name: str, text: str) -> bool:
    return re.fullmatch(PATTERNS[name], text) is not None


def test_dates_are_those_of_the_calendar():
    day = date(1999, 1, 1)
    while day < date(2005, 1, 1):
        assert is_format("date", day.isoformat())
        day += timedelta(days=1)
    for year in ("1000", "1900", "2000", "2023", "2024", "2100", "2400", "0000", "0999"):
        for month in range(14):
            for day_number in range(33):
                text = f"{year}-{month:02}-{day_number:02}"
                try:
                    valid = date.fromisoformat(text).year >= 1000
                except ValueError:
                    valid = False
                assert is_format("date", text) == valid, text


@pytest.mark.parametrize("text", ["00:00:00Z", "23:59:59+01:00", "12:30:05.123456-23:59"])
def test_times_are_those_of_a_clock(text):
    assert is_format("time", text)
    assert is_format("date-time", f"2024-02-29T{text}")
    datetime.fromisoformat(f"2024-02-29T{text}")


@pytest.mark.parametrize(
    "text", ["24:00:00Z", "12:60:00Z", "12:00:60Z", "12:00:00", "1:00:00Z", "12:00:00.Z"]
)
def test_other_times_are_none(text):
    assert not is_format("time", text)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        (
            "duration",
            ["P1D", "PT5M", "P2Y3M", "P1DT2H", "P4W", "PT1H2M3S"],
            ["P", "PT", "1D", "P1Y2D", "P1S"],
        ),
        ("email", ["a@b.c", "jo.hn+x@mail.example"], ["a@b", "a b@c.d", "a.@b.c", "@b.c", "a@-b.c"]),
        ("hostname", ["a", "a-b.example"], ["-a", "a-", "a..b", "a_b", ""]),
        ("uri", ["http://a.b/c?d=e#f", "https://host:80/"], ["a.b", "http://", "http://a b", "//a"]),
    ],
)
def test_names_and_durations(name, good, bad):
    assert [text for text in good if not is_format(name, text)] == []
    assert [text for text in bad if is_format(name, text)] == []


def test_formats_are_rewritten_where_schemas_are_and_nowhere_else():
    date_schema = {"type": "string", "format": "date"}
    pattern = {"type": "string", "pattern": f"^{PATTERNS['date']}$"}
    schema = {
        "properties": {
            "format": date_schema,
            "p": {"items": [date_schema], "additionalProperties": date_schema},
        },
        "$defs": {"d": {"anyOf": [date_schema, {"enum": [date_schema], "const": date_schema}]}},
        "default": date_schema,
    }
    assert with_patterns(schema) == {
        "properties": {"format": pattern, "p": {"items": [pattern], "additionalProperties": pattern}},
        "$defs": {"d": {"anyOf": [pattern, {"enum": [date_schema], "const": date_schema}]}},
        "default": date_schema,
    }
    assert with_patterns({**date_schema, "pattern": "^2"}) == {**date_schema, "pattern": "^2"}
    assert with_patterns({"format": "uuid", "items": True}) == {"format": "uuid", "items": True}
