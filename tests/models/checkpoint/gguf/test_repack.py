"""Repacking into Gradus's formats: how far a weight may move, and what is refused."""

import numpy as np
import pytest

from gradus.errors import CheckpointError
from gradus.models.checkpoint.gguf.blocks import GROUPED, VALUES
from gradus.models.checkpoint.gguf.repack import centred, dequantize, repack, stored_width
from gradus.models.checkpoint.gguf.types import TENSOR_TYPES, TYPE_BY_NAME
from gradus.quantization.rtn import quantize
from tests.llama_cpp import quantize as quantize_by_llama_cpp
from tests.models.checkpoint.gguf.random_blocks import random_blocks

EXACT = ["Q4_0", "Q5_0", "Q8_0"]
BOUND = 2**-11  # of the group's largest weight
ROWS, BLOCKS_PER_ROW = 96, 4


def both(name: str, **keywords):
    """The repacked matrix, and its exact values."""
    blocks = random_blocks(TYPE_BY_NAME[name], ROWS, BLOCKS_PER_ROW, **keywords)
    matrix = repack(blocks, TYPE_BY_NAME[name], None, "x")
    return matrix, dequantize(blocks, TYPE_BY_NAME[name], None, "x")


def errors(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Of each weight, in shares of its group's largest."""
    largest = np.abs(exact).reshape(len(exact), -1, 32).max(axis=-1).repeat(32, axis=-1)
    return np.abs(found - exact) / np.where(largest == 0, 1, largest)


@pytest.mark.parametrize("name", EXACT)
def test_types_that_fit_lose_nothing(name):
    matrix, exact = both(name)
    assert errors(matrix.dequantize(), exact).max() == 0.0


@pytest.mark.parametrize("name", GROUPED)
def test_codes_fit_the_width(name):
    matrix, exact = both(name)
    width = stored_width(TYPE_BY_NAME[name])
    assert matrix.codes.dtype == (np.int8 if width == "int8" else np.uint8)
    assert matrix.codes.shape == exact.shape
    assert (matrix.centres is not None) == (width == "int4")


@pytest.mark.parametrize(("name", "most"), [("Q4_1", 1.0), ("Q4_K", 1.07)])
def test_what_f16_does_to_scales_and_centres(name, most):
    """By llama.cpp's quantizer: of random codes some are on one side of the centre only."""
    weights = np.random.default_rng(0).normal(0.003, 0.02, (2048, 1024)).astype(np.float32)
    blocks = quantize_by_llama_cpp(weights, name)
    found = errors(
        repack(blocks, TYPE_BY_NAME[name], None, "x").dequantize(),
        dequantize(blocks, TYPE_BY_NAME[name], None, "x"),
    )
    assert found.max() < most * BOUND  # the worst that can be: docs/decisions/013-q4-k-in-f16.md
    assert (found.reshape(-1, 32).max(axis=-1) > BOUND).mean() < 1e-4


def neighbours(number: float, count: int) -> np.ndarray:
    """The nearest f16 and `count` on each side of it."""
    found = [np.float16(number)]
    for direction in (np.inf, -np.inf):
        next_one = found[0]
        for _ in range(count):
            next_one = np.nextafter(next_one, np.float16(direction))
            found.append(next_one)
    return np.array(found, np.float64)


def test_no_f16_values_do_better_than_those_of_a_group_beyond_the_bound():
    """Groups as bad as they come: a scale midway between two of f16, and ends that are alike."""
    random = np.random.default_rng(0)
    scales = np.float32(1 + 2**-11) * np.exp2(random.integers(-8, 4, 64)).astype(np.float32)
    minima = -scales * np.float32(7.5) + scales * random.uniform(-0.01, 0.01, 64).astype(np.float32)
    codes = np.arange(32, dtype=np.uint8)[None].repeat(64, axis=0) % 16
    exact = codes * scales.astype(np.float64)[:, None] + minima.astype(np.float64)[:, None]
    turned, halves, centres = centred(codes[:, None], scales[:, None], minima[:, None])
    values = (turned[:, 0].astype(np.float64) - 8) * halves.astype(np.float64) + centres.astype(np.float64)
    found = np.abs(values - exact).max(axis=1)
    assert (found > BOUND * np.abs(exact).max(axis=1)).any()
    for i, (scale, minimum) in enumerate(zip(scales, minima, strict=True)):
        best = min(
            np.abs((codes[i] - middle) * near[:, None, None] + centre[:, None] - exact[i]).max(axis=-1).min()
            for middle in (7, 8)
            for near in [neighbours(scale, 4)]
            for centre in [neighbours(minimum + middle * scale, 40)]
        )
        assert found[i] <= best * (1 + 1e-6)


@pytest.mark.parametrize("name", sorted(VALUES))
def test_the_others_are_rounded_to_8_bits_once(name):
    matrix, exact = both(name)
    expected = quantize(exact, "int8")
    np.testing.assert_array_equal(matrix.codes, expected.codes)
    np.testing.assert_array_equal(matrix.scales, expected.scales)
    is_normal = (matrix.scales > 2**-14).repeat(32, axis=-1)  # below, f16 is coarse
    assert errors(matrix.dequantize(), exact)[is_normal].max() < 1 / 254 + BOUND


def test_the_lowest_code_of_q8_0_stays():
    blocks = np.full((1, 34), 0x80, np.uint8)  # codes of -128
    blocks[0, :2] = np.array([0.5], np.float16).view(np.uint8)
    matrix = repack(blocks, TYPE_BY_NAME["Q8_0"], None, "x")
    assert (matrix.dequantize() == -64.0).all()


@pytest.mark.parametrize("name", ["Q4_K", "Q6_K", "Q8_0"])
def test_rows_are_reordered_and_threads_change_nothing(name):
    blocks = random_blocks(TYPE_BY_NAME[name], 5000, 1)
    order = np.random.default_rng(1).permutation(len(blocks))
    plain = repack(blocks, TYPE_BY_NAME[name], None, "x")
    reordered = repack(blocks, TYPE_BY_NAME[name], order, "x", num_threads=3)
    np.testing.assert_array_equal(reordered.codes, plain.codes[order])
    np.testing.assert_array_equal(reordered.scales, plain.scales[order])
    values = dequantize(blocks, TYPE_BY_NAME[name], order, "x")
    np.testing.assert_array_equal(values, dequantize(blocks, TYPE_BY_NAME[name], None, "x")[order])


@pytest.mark.parametrize("name", sorted([*GROUPED, *VALUES]))
@pytest.mark.parametrize("number", [np.inf, np.nan, 60000.0])
def test_numbers_that_are_no_weights_are_refused(name, number):
    offset = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208}.get(name, 0)
    blocks = np.full((1, TYPE_BY_NAME[name].block_bytes), 0x7B, np.uint8)
    blocks[0, offset : offset + 2] = np.array([number], np.float16).view(np.uint8)
    for use in (repack, dequantize):
        with pytest.raises(
            CheckpointError, match=r"the tensor has values up to .* weights are read up to 65,504"
        ):
            use(blocks, TYPE_BY_NAME[name], None, "the tensor")


def test_plain_types_have_no_width():
    for tensor_type in TENSOR_TYPES:
        assert (stored_width(tensor_type) is None) == (tensor_type.block_size == 1)
