"""Seeded random checkpoints."""

from dataclasses import replace

import numpy as np
import pytest

from gradus.errors import CheckpointError
from gradus.models.checkpoint.base import RawTensor
from gradus.models.checkpoint.dummy import DummyCheckpoint
from gradus.models.sources import DUMMY_SHAPES

CONFIG = replace(DUMMY_SHAPES["qwen3-0.6b"], num_layers=2, vocab_size=1000, attention_bias=True)
Q = "model.layers.0.self_attn.q_proj.weight"


def values(raw: RawTensor) -> np.ndarray:
    assert raw.dtype == "bf16"
    return (raw.array.astype(np.uint32) << 16).view(np.float32)


def test_matrices_are_normal() -> None:
    q = values(DummyCheckpoint(CONFIG).read(Q))
    assert q.shape == (2048, 1024)
    assert abs(q.mean()) < 1e-4
    assert q.std() == pytest.approx(0.02, rel=0.01)
    assert np.mean(np.abs(q) > 0.04) == pytest.approx(0.0455, rel=0.05)  # two standard deviations
    # Rows and columns are not repetitions of each other.
    assert abs(np.corrcoef(q[0], q[1])[0, 1]) < 0.2
    assert len(np.unique(q[:, :64], axis=0)) == len(q)


def test_norms_are_one_and_biases_zero() -> None:
    checkpoint = DummyCheckpoint(CONFIG)
    assert np.all(values(checkpoint.read("model.norm.weight")) == 1)
    assert np.all(values(checkpoint.read("model.layers.1.self_attn.k_norm.weight")) == 1)
    assert np.all(values(checkpoint.read("model.layers.1.self_attn.k_proj.bias")) == 0)


def test_a_tensor_depends_on_seed_and_name_only() -> None:
    first, second = DummyCheckpoint(CONFIG, seed=1), DummyCheckpoint(replace(CONFIG, num_layers=1), seed=1)
    first.read("model.embed_tokens.weight")
    np.testing.assert_array_equal(first.read(Q).array, second.read(Q).array)
    np.testing.assert_array_equal(first.read(Q).array, first.read(Q).array)
    assert not np.array_equal(first.read(Q).array, DummyCheckpoint(CONFIG, seed=2).read(Q).array)
    assert not np.array_equal(first.read(Q).array, first.read(Q.replace("layers.0", "layers.1")).array)


def test_names_and_shapes_of_the_published_model() -> None:
    checkpoint = DummyCheckpoint(DUMMY_SHAPES["qwen3-0.6b"])
    assert len(checkpoint.names()) == 2 + 28 * 11
    assert "lm_head.weight" not in checkpoint.names()
    assert checkpoint.shape("model.embed_tokens.weight") == (151936, 1024)
    assert checkpoint.shape("model.layers.27.mlp.down_proj.weight") == (1024, 3072)
    num_parameters = sum(int(np.prod(checkpoint.shape(name))) for name in checkpoint.names())
    assert num_parameters == 596_049_920


def test_unknown_names_are_refused() -> None:
    with pytest.raises(CheckpointError, match="lm_head"):
        DummyCheckpoint(CONFIG).read("lm_head.weight")
