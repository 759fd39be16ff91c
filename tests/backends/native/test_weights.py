"""Conversion and packing of weights; embedding rows, gathered back from the panels, are the probe."""

import numpy as np
import pytest

from gradus.backends.native import _native
from gradus.backends.native.weights import Weights
from gradus.errors import CheckpointError
from gradus.models.rope import Rope, inverse_frequencies
from tests.backends.native.harness import Tensor, make_executor, rows_step, run
from tests.backends.native.rounding import to_bf16
from tests.tiny_models import LoudCheckpoint, tiny_config

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    65504.0,
    65519.0,
    65520.0,
    1e6,
    -1e38,
    3.4e38,
    6e-8,
    3e-8,
    2.98e-8,
    6.1e-5,
    1e-40,
    1e-45,
]


def unpacked(executor, weight, num_rows, width):
    out = Tensor(num_rows, width)
    run(executor, rows_step(num_rows, token_ids=np.arange(num_rows)), _native.embed(weight, out.view))
    return out.array.copy()


def awkward_values(shape):
    """Values of all magnitudes, ties between 16-bit neighbours among them."""
    random = np.random.default_rng(0)
    values = random.integers(0, 2**32, size=shape, dtype=np.uint64).astype(np.uint32).view(np.float32)
    values = np.where(np.isfinite(values), values, 1.0).astype(np.float32)
    ties = (random.integers(0, 2**16, size=shape) << 16 | 0x8000).astype(np.uint32).view(np.float32)
    half_ties = (
        random.normal(size=shape).astype(np.float16).astype(np.float32) * np.float32(1 + 2**-11)
    ).astype(np.float32)
    out = np.where(np.isfinite(ties), ties, values)
    out[::3] = values[::3]
    out[1::3] = half_ties[1::3]
    out.flat[: len(SPECIAL)] = SPECIAL
    return out


@pytest.mark.parametrize("weight_format", ["f32", "bf16", "f16"])
def test_values_round_to_nearest_even(cpu_variant, weight_format):
    executor = make_executor(cpu_variant)
    values = awkward_values((50, 37))
    weight = _native.Weight(weight_format, [50], 37)
    weight.pack(0, values, "f32", executor)
    with np.errstate(over="ignore"):
        expected = {
            "f32": lambda: values,
            "bf16": lambda: to_bf16(values),
            "f16": lambda: values.astype(np.float16).astype(np.float32),
        }[weight_format]()
    found = unpacked(executor, weight, 50, 37)
    assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("source", ["bf16", "f16"])
def test_every_16_bit_value_survives(cpu_variant, source):
    executor = make_executor(cpu_variant)
    bits = np.arange(2**16, dtype=np.uint16).reshape(1024, 64)
    weight = _native.Weight(source, [1024], 64)
    weight.pack(0, bits, source, executor)
    if source == "f16":
        expected = bits.view(np.float16).astype(np.float32)
    else:
        expected = (bits.astype(np.uint32) << 16).view(np.float32)
    found = unpacked(executor, weight, 1024, 64)
    assert np.array_equal(found, expected, equal_nan=True)


def test_frequencies_are_those_of_the_formula():
    found = inverse_frequencies(Rope(head_dim=128, theta=1e6))
    exact = 1e6 ** (-np.arange(0, 128, 2) / 128)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=2e-6)  # the exponent is rounded to f32


class Changed(LoudCheckpoint):
    """A tiny model's checkpoint without one tensor, or with another in its place."""

    def __init__(self, name, array=None):
        super().__init__(tiny_config())
        self._name, self._array = name, array

    def names(self):
        return [name for name in super().names() if name != self._name or self._array is not None]

    def shape(self, name):
        return self._array.shape if name == self._name else super().shape(name)


def test_missing_and_misshaped_tensors_are_named(cpu_variant):
    executor = make_executor(cpu_variant)
    name = "model.layers.1.self_attn.k_proj.weight"
    with pytest.raises(CheckpointError, match=name):
        Weights(Changed(name), tiny_config(), "f32", executor)
    with pytest.raises(CheckpointError, match=rf"{name} has shape \[32, 40\].*\[32, 48\]"):
        Weights(Changed(name, np.zeros((32, 40), np.float32)), tiny_config(), "f32", executor)


def test_a_weight_that_is_named_twice_is_stored_once(cpu_variant):
    weights = Weights(LoudCheckpoint(tiny_config()), tiny_config(), "bf16", make_executor(cpu_variant))
    assert weights.linear(["model.embed_tokens"]) is weights.linear(["model.embed_tokens"])
    assert weights.num_bytes == 112 * 48 * 2


def test_an_unknown_format_is_refused():
    with pytest.raises(_native.SetupError, match="int3"):
        _native.Weight("int3", [16], 16)
