"""Scale and centre in f16 from scale and minimum in f32: how far a weight moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.models.checkpoint.gguf.centre import centred

BOUND = 2**-11


def errors(codes, scales, minima):
    """Of each group, its largest in shares of its largest weight."""
    found, halves, centres = centred(codes, scales, minima)
    assert found.dtype == np.uint8
    assert found.max() <= 15
    exact = scales[:, None].astype(np.float64) * codes + minima[:, None]
    stored = halves[:, None].astype(np.float64) * (found - 8.0) + centres[:, None]
    return np.abs(stored - exact).max(axis=1) / np.abs(exact).max(axis=1)


@pytest.mark.parametrize("offset", [0.0, 0.3, 1.0, 4.0, 30.0])
def test_the_bound_holds(offset):
    """But where a group is symmetric about zero, no code is its middle, and both are rounded to the full."""
    random = np.random.default_rng(0)
    groups = 50_000
    scales = (2.0 ** random.uniform(-12, -3, groups)).astype(np.float32)
    minima = (-scales * (7.5 + offset * random.normal(size=groups))).astype(np.float32)
    codes = random.integers(0, 16, (groups, 32)).astype(np.uint8)
    codes[:, 0], codes[:, 1] = 0, 15
    found = errors(codes, scales, minima)
    assert (found > BOUND).mean() < 3e-4
    assert found.max() < 1.05 * BOUND


def test_groups_that_use_few_codes():
    random = np.random.default_rng(1)
    scales = (2.0 ** random.uniform(-12, -3, 50_000)).astype(np.float32)
    minima = (-scales * random.uniform(0, 15, 50_000)).astype(np.float32)
    low = random.integers(0, 12, (50_000, 1))
    codes = random.integers(low, np.minimum(16, low + 6), (50_000, 32)).astype(np.uint8)
    found = errors(codes, scales, minima)
    assert (found > BOUND).mean() < 0.01
    assert found.max() < 2 * BOUND


@given(
    st.lists(st.integers(0, 15), min_size=32, max_size=32),
    st.floats(2**-10, 8.0, width=16),
    st.booleans(),
)
def test_what_f16_holds_stays_exact(codes, scale, is_negative):
    """Such as Q4_0, whose code 8 is zero."""
    group = np.array([codes], np.uint8)
    scales = np.array([-scale if is_negative else scale], np.float32)
    found, halves, centres = centred(group, scales, -8 * scales)
    assert np.array_equal(found, group)
    assert halves[0] == scales[0]
    assert centres[0] == 0


def test_a_group_of_one_code_is_its_centre():
    codes = np.full((3, 32), [[0], [7], [15]], np.uint8)
    scales, minima = np.full(3, 0.1, np.float32), np.full(3, -0.25, np.float32)
    found, halves, centres = centred(codes, scales, minima)
    values = halves[:, None].astype(np.float64) * (found - 8.0) + centres[:, None]
    expected = np.array([-0.25, 0.45, 1.25])[:, None]
    assert (np.abs(values - expected) <= BOUND * np.abs(expected)).all()
