"""How numbers are written, against Python's own arithmetic."""

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.bench.report.units import MILLISECONDS, PERCENT, SECONDS, unit_of, write_number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (12345.678, "12,346"),
        (123.456, "123.5"),
        (12.345678, "12.35"),
        (1.2345, "1.23"),
        (-0.12345, "-0.123"),
        (0.0625, "0.0625"),
        (0.0015, "0.00150"),
        (0.000123456, "0.000123"),
        (2.5e20, "2.5e+20"),
        (inf, "inf"),
        (nan, "nan"),
    ],
)
def test_numbers_have_three_significant_digits_or_more(value, text):
    assert write_number(value) == text


@given(st.floats(min_value=1e-9, max_value=1e18))
def test_what_is_written_is_the_value_within_half_a_per_cent(value):
    assert float(write_number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("figure", "name", "value", "written"),
    [
        ("output_tokens_per_second", "tok/s", 12.5, "12.50"),
        ("requests_per_second", "requests/s", 2.0, "2"),
        ("read_bytes_per_second", "GB/s", 21.5e9, "21.50"),
        ("kv_held_bytes", "MiB", 3 * 1024 * 1024, "3"),
        ("prefix_cache_hit_rate", "%", 0.75, "75 %"),
        ("num_steps", "", 90.0, "90"),
    ],
)
def test_a_figures_name_tells_its_unit(figure, name, value, written):
    unit = unit_of(figure)
    assert unit.name == name
    assert unit.write(value) == written


def test_short_times_are_given_in_milliseconds():
    assert unit_of("ttft_seconds", [0.2, 0.9]) is MILLISECONDS
    assert unit_of("ttft_seconds", [0.2, 1.9]) is SECONDS
    assert MILLISECONDS.heading("TTFT") == "TTFT, ms"
    assert PERCENT.heading("share") == "share"
