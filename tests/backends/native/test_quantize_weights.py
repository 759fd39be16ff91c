"""The native quantizer packs exactly the codes, scales and centres of the NumPy definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradus.backends.native import _native
from gradus.quantization.rtn import quantize
from tests.backends.native.harness import make_executor

WIDTHS = ["int8", "int4", "int4_symmetric", "int4_g128"]
VALUES = st.floats(-6e4, 6e4, width=32) | st.sampled_from([0.0, -0.0, 1e-8, -3e-7, 1e-40, 6e-5, 1.0])


def packed(executor, width, matrix, dtype="f32"):
    weight = _native.Weight(width, [len(matrix)], matrix.shape[1])
    weight.pack(0, matrix, dtype, executor)
    return weight.data.copy()


def packed_codes(executor, width, matrix):
    quantized = quantize(matrix, width)
    weight = _native.Weight(width, [len(matrix)], matrix.shape[1])
    centres = None if quantized.centres is None else quantized.centres.view(np.uint16)
    weight.pack_quantized(
        0, quantized.codes.view(np.uint8), quantized.scales.view(np.uint16), centres, executor
    )
    return weight.data.copy()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [(1, 1), (16, 32), (17, 33), (50, 300), (3, 95), (20, 129), (640, 512)])
@pytest.mark.parametrize("scale", [1e-6, 0.02, 1.0, 2e4])
def test_random_matrices(cpu_variant, width, shape, scale):
    executor = make_executor(cpu_variant)
    matrix = (np.random.default_rng(0).normal(size=shape) * scale).astype(np.float32)
    assert np.array_equal(packed(executor, width, matrix), packed_codes(executor, width, matrix))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("variant", _native.available_variants())
@given(
    matrix=st.tuples(st.integers(1, 20), st.integers(1, 200)).flatmap(
        lambda shape: arrays(np.float32, shape, elements=VALUES)
    )
)
def test_awkward_matrices(variant, width, matrix):
    executor = make_executor(variant, num_threads=1, num_blocks=1, vocab_size=16, max_rows=1)
    with np.errstate(all="ignore"):
        expected = packed_codes(executor, width, matrix)
    assert np.array_equal(packed(executor, width, matrix), expected)


@pytest.mark.parametrize("width", WIDTHS)
def test_16_bit_sources_are_their_values(cpu_variant, width):
    executor = make_executor(cpu_variant)
    halves = np.random.default_rng(0).normal(size=(40, 70)).astype(np.float16)
    found = packed(executor, width, halves.view(np.uint16), "f16")
    assert np.array_equal(found, packed(executor, width, halves.astype(np.float32)))
    bits = (halves.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    values = (bits.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(packed(executor, width, bits, "bf16"), packed(executor, width, values))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_no_number_crashes_nothing_and_spoils_only_its_group(cpu_variant, width, value):
    executor = make_executor(cpu_variant)
    matrix = np.random.default_rng(0).normal(size=(16, 256)).astype(np.float32)
    clean = packed(executor, width, matrix).reshape(2, -1)
    matrix[3, 140] = value
    spoiled = packed(executor, width, matrix).reshape(2, -1)
    assert np.array_equal(spoiled[0], clean[0])
    assert not np.array_equal(spoiled[1], clean[1])


@pytest.mark.parametrize("width", WIDTHS)
def test_threads_change_nothing(cpu_variant, width):
    matrix = np.random.default_rng(0).normal(size=(1000, 130)).astype(np.float32)
    one, three = (make_executor(cpu_variant, num_threads=n) for n in (1, 3))
    assert np.array_equal(packed(one, width, matrix), packed(three, width, matrix))
