"""Encoding blocks: bit for bit what ggml's reference does, and for the K types as near to the weights."""

import gguf
import numpy as np
import pytest

from gradus.export.gguf_blocks import encode
from tests.llama_cpp import quantize

INPUTS = 512


def weights(seed=0):
    """Normal numbers; among them rows of zeros, of one value, of tiny ones, and with an outlier."""
    rows = np.random.default_rng(seed).normal(0, 0.02, (96, INPUTS)).astype(np.float32)
    rows[0], rows[1], rows[2] = 0.0, 0.5, rows[2] * 1e-4
    rows[3, 100] = 9.0
    return rows


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_small_blocks_are_those_of_the_gguf_package(name):
    expected = gguf.quants.quantize(weights(), gguf.GGMLQuantizationType[name])
    np.testing.assert_array_equal(encode(weights(), name), expected)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_numbers_are_those_of_the_gguf_package(name):
    expected = gguf.quants.quantize(weights(), gguf.GGMLQuantizationType[name])
    assert encode(weights(), name).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["Q4_K", "Q6_K"])
def test_k_blocks_are_as_good_as_llama_cpp_s(name):
    rows = weights()

    def error(blocks):
        values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])
        return np.sqrt(np.square(values - rows).mean(axis=1))

    ours, theirs = error(encode(rows, name)), error(quantize(rows, name))
    assert (ours <= 1.1 * theirs + 1e-4 * np.abs(rows).max(axis=1)).all()
    assert ours.mean() < 1.02 * theirs.mean()
