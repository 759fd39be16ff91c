"""Scaled rotary embeddings against transformers' own frequencies."""

from typing import Any

import numpy as np
import pytest
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import read_rope
from gradus.models.rope import PairwiseScaling, Rope, inverse_frequencies

SCALINGS: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 3.0},
    {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
    {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096, "truncate": False},
    {"rope_type": "yarn", "factor": 2.0, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.25},
    {"rope_type": "yarn", "factor": 8.0, "mscale": 0.7, "mscale_all_dim": 1.0},
]


@pytest.mark.parametrize("theta", [10_000.0, 1_000_000.0])
@pytest.mark.parametrize("head_dim", [32, 128])
@pytest.mark.parametrize("scaling", SCALINGS)
def test_frequencies_are_those_of_transformers(scaling: dict[str, Any], head_dim: int, theta: float) -> None:
    parameters = {"rope_theta": theta, **scaling}
    config = LlamaConfig(head_dim=head_dim, max_position_embeddings=65536, rope_parameters=dict(parameters))
    expected, magnitude = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config)
    raw = {"max_position_embeddings": 65536, "rope_parameters": parameters}
    rope = read_rope(Fields(raw, "config.json"), head_dim)
    np.testing.assert_allclose(inverse_frequencies(rope), expected.numpy(), rtol=1e-5)
    assert rope.magnitude == pytest.approx(magnitude)


def test_part_of_a_head_has_frequencies_of_its_own() -> None:
    part = inverse_frequencies(Rope(head_dim=96, theta=1e4, rotary_dim=72))
    np.testing.assert_array_equal(part, inverse_frequencies(Rope(head_dim=72, theta=1e4)))


def test_each_pair_may_have_its_factor() -> None:
    rope = Rope(head_dim=8, theta=1e4, scaling=PairwiseScaling((1.0, 2.0, 4.0, 8.0)))
    np.testing.assert_allclose(inverse_frequencies(rope), [1.0, 0.05, 0.0025, 0.000125], rtol=1e-6)
