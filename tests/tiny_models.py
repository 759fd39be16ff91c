"""Tiny random models made in memory, for tests that need a real backend and no particular model."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Backend
from gradus.export.gguf import export_gguf
from gradus.models.checkpoint.base import RawTensor
from gradus.models.checkpoint.dummy import DummyCheckpoint
from gradus.models.config import ModelConfig
from gradus.models.gemma2 import Gemma2Config
from gradus.models.gemma3 import Gemma3Config
from gradus.models.ops import ExpertShape
from gradus.models.qwen3_moe import Qwen3MoeConfig
from gradus.models.rope import Rope
from gradus.models.sources import resolve_model
from tests.text.toy_tokenizers import SPECIAL, TEMPLATE, byte_level_json, fast_of

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


def tiny_moe_config() -> Qwen3MoeConfig:
    """Seven experts, of which each token chooses two."""
    experts = ExpertShape(num_experts=7, top_k=2, intermediate_size=40, renormalize=True)
    return Qwen3MoeConfig(**_values(tiny_config(architecture="Qwen3MoeForCausalLM")), experts=experts)


def tiny_gemma2_config() -> Gemma2Config:
    """A local and a global layer, capped scores and logits."""
    return Gemma2Config(
        **_values(tiny_config(architecture="Gemma2ForCausalLM", windows=(11, None))),
        embedding_scale=7.0,
        attention_scale=0.2,
        attention_soft_cap=4.0,
        logit_soft_cap=50.0,
    )


def tiny_gemma3_config() -> Gemma3Config:
    """A local and a global layer, each with its rotary embedding."""
    return Gemma3Config(
        **_values(tiny_config(architecture="Gemma3ForCausalLM", windows=(11, None))),
        local_rope=Rope(head_dim=16, theta=100.0),
        embedding_scale=7.0,
        attention_scale=0.2,
        logit_soft_cap=None,
    )


def tiny_phi3_config() -> ModelConfig:
    """Stored matrices of several, and heads that turn in part."""
    rope = Rope(head_dim=16, theta=10_000.0, rotary_dim=12, magnitude=1.2)
    return tiny_config(architecture="Phi3ForCausalLM", rope=rope)


def _values(config: ModelConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


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


def save_tiny_model(directory: Path) -> Path:
    """Write a Hugging Face directory with a tiny random chat model: weights, configuration, tokenizer."""
    tokenizer = byte_level_json()
    vocab_size = fast_of(tokenizer).get_vocab_size()
    config = tiny_config(vocab_size=vocab_size)
    weights = LoudCheckpoint(config)
    save_file({name: weights.read(name).array for name in weights.names()}, directory / "model.safetensors")
    written = {
        "architectures": [config.architecture],
        "model_type": "qwen3",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope.theta,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": "float32",
        "eos_token_id": 2,
    }
    (directory / "config.json").write_text(json.dumps(written))
    (directory / "tokenizer.json").write_text(tokenizer)
    tokenizer_config = {"eos_token": SPECIAL[2], "chat_template": TEMPLATE}
    (directory / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    return directory


def write_wide_model(directory: Path, file_type: str, **changes: object) -> Path:
    """A GGUF file with the demo model's tokenizer, and rows that blocks of 256 fill."""
    demo = resolve_model("demo")
    shape = {"hidden_size": 256, "intermediate_size": 512, "vocab_size": demo.config.vocab_size}
    config = tiny_config(**(shape | changes))
    path = directory / f"wide-{file_type}.gguf"
    export_gguf(replace(demo, config=config, checkpoint=DummyCheckpoint(config, 0)), path, file_type)
    return path
