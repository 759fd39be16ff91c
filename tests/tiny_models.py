"""Tiny random models made in memory, for tests that need a real backend and no particular model."""

import numpy as np

from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Backend
from gradus.models.checkpoint.base import RawTensor
from gradus.models.checkpoint.dummy import DummyCheckpoint
from gradus.models.config import ModelConfig
from gradus.models.ops import Rope

LOUDNESS = 15.0  # times the dummy weights' 0.02: attention is sharp and logits are distinct


class LoudCheckpoint(DummyCheckpoint):
    """Dummy weights with matrices large enough that every token and position matters."""

    def read(self, name: str) -> RawTensor:
        raw = super().read(name)
        values = (raw.array.astype(np.uint32) << 16).view(np.float32)
        return RawTensor("f32", values * np.float32(LOUDNESS) if values.ndim == 2 else values)


def tiny_config(**changes: object) -> ModelConfig:
    """A Qwen3 of two layers and a vocabulary of 97 tokens."""
    values: dict = {
        "architecture": "Qwen3ForCausalLM",
        "vocab_size": 97,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_layers": 2,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-6,
        "rope": Rope(head_dim=16, theta=10_000.0),
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "dtype": "f32",
    }
    return ModelConfig(**(values | changes))


def tiny_backend(name: str = "native", config: ModelConfig | None = None, **changes: object) -> Backend:
    """A backend with a tiny model; `changes` are fields of `BackendOptions`."""
    values: dict = {
        "weight_dtype": "f32",
        "num_threads": 2,
        "max_num_batched_tokens": 256,
        "max_num_seqs": 16,
        "max_model_len": 512,
        "block_size": 16,
        "num_blocks": 128,
        "kv_cache_dtype": "f16",
        "attention": "blocked",
        "enforce_eager": False,
    }
    config = config or tiny_config()
    return backend_class(name)(config, LoudCheckpoint(config), BackendOptions(**(values | changes)))
