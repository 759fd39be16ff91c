"""The quantizer's error bounds, which hold for every matrix, and its advantage over the plain formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradus.quantization.recipe import weight_width
from gradus.quantization.rtn import GROUP_SIZES, quantize

WIDTHS = list(GROUP_SIZES)
VALUES = st.floats(-1e4, 1e4, width=32).map(lambda x: 0.0 if abs(x) < 1e-3 else x)
MATRICES = st.tuples(st.integers(1, 5), st.integers(1, 200)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=VALUES)
)


def groups_of(matrix, size=32, mode="constant"):
    padded = np.pad(matrix.astype(np.float64), ((0, 0), (0, -matrix.shape[1] % size)), mode=mode)
    return padded.reshape(len(matrix), -1, size)


@given(MATRICES)
def test_int8_is_off_by_half_a_step_at_most(matrix):
    quantized = quantize(matrix, "int8")
    largest = np.abs(groups_of(matrix)).max(-1)
    error = np.abs(groups_of(quantized.dequantize()) - groups_of(matrix)).max(-1)
    # The step is rounded to 16 bits: at the end of 127 steps that is up to 127 / 2048 of one more.
    assert (error <= largest / 127 * (0.5 + 127 / 2048) + 127 * 2**-24).all()
    assert np.abs(quantized.codes.astype(int)).max() <= 127


@given(MATRICES)
def test_int4_has_at_most_the_squared_error_of_even_steps_between_the_ends(matrix):
    quantized = quantize(matrix, "int4")
    error = ((groups_of(quantized.dequantize()) - groups_of(matrix)) ** 2).sum(-1)
    groups = groups_of(matrix, mode="edge")
    low, high = groups.min(-1), groups.max(-1)
    # Half a step, and what rounding the step and the minimum to 16 bits adds.
    bound = (high - low) / 30 + (high - low) / 2048 + np.abs(low) / 2048 + 16 * 2**-24
    assert (error <= 32 * bound**2).all()
    assert quantized.codes.max() <= 15


@given(MATRICES, st.sampled_from(WIDTHS))
@settings(max_examples=30)
def test_missing_inputs_have_codes_of_zero(matrix, width):
    quantized = quantize(matrix, width)
    size = {"int4_g128": 128}.get(width, 32)
    assert quantized.codes.shape == (len(matrix), -(-matrix.shape[1] // size) * size)
    assert quantized.scales.shape == (len(matrix), -(-matrix.shape[1] // size))
    assert not quantized.codes[:, matrix.shape[1] :].any()
    assert quantized.dequantize().shape == matrix.shape


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 0.1, 6e4])
def test_a_constant_group_survives(width, value):
    matrix = np.full((2, 64), value, np.float32)
    np.testing.assert_allclose(quantize(matrix, width).dequantize(), matrix, rtol=2**-10)


def test_fitting_int4_beats_even_steps_between_the_ends():
    matrix = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
    groups = groups_of(matrix)
    low, step = groups.min(-1, keepdims=True), np.ptp(groups, -1, keepdims=True) / 15
    plain = np.rint((groups - low) / step) * step + low
    fitted = groups_of(quantize(matrix, "int4").dequantize())
    assert ((fitted - groups) ** 2).sum() < 0.9 * ((plain - groups) ** 2).sum()


@pytest.mark.parametrize(("width", "size", "share"), [("int4_symmetric", 32, 0.95), ("int4_g128", 128, 0.98)])
def test_fitting_a_scale_beats_the_one_of_the_largest(width, size, share):
    """Inputs that no group has are left out of its fit: 300 are two groups of 128 and 44."""
    matrix = np.random.default_rng(0).normal(size=(64, 300)).astype(np.float32)
    groups = groups_of(matrix, size)
    ends = np.take_along_axis(groups, np.abs(groups).argmax(-1, keepdims=True), -1)
    plain = np.clip(np.rint(groups / (ends / -8)), -8, 7) * (ends / -8)
    errors = [
        ((found - groups) ** 2).sum(-1)
        for found in (groups_of(quantize(matrix, width).dequantize(), size), plain)
    ]
    assert errors[0].sum() < share * errors[1].sum()
    assert errors[0][:, -1].sum() < errors[1][:, -1].sum()


@pytest.mark.parametrize("width", WIDTHS)
def test_threads_change_nothing(width):
    matrix = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)
    one, three = quantize(matrix, width), quantize(matrix, width, num_threads=3)
    assert np.array_equal(one.codes, three.codes)
    assert np.array_equal(one.scales, three.scales)


def test_the_recipe_is_the_documented_one():
    for name in ("model.embed_tokens", "lm_head"):
        assert [weight_width(name, q) for q in ("none", "int8", "int4")] == [None, "int8", "int8"]
    assert weight_width("model.layers.3.mlp.down_proj", "int4") == "int4"
    assert weight_width("model.layers.3.mlp.down_proj", "int8") == "int8"
