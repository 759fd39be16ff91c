"""The published configurations of every family, as `config.json` has them, and what each refuses."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import CheckpointError, ModelError, UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.gemma2 import Gemma2Config
from gradus.models.gemma3 import Gemma3Config
from gradus.models.hf_config import parse_model_config
from gradus.models.ops import ExpertShape
from gradus.models.qwen3_moe import Qwen3MoeConfig
from gradus.models.rope import Llama3Scaling, PairwiseScaling, Rope, inverse_frequencies
from tests.models.published_configs import (
    GEMMA2,
    GEMMA3,
    LLAMA,
    LLAMA2,
    MISTRAL,
    PHI3,
    PUBLISHED,
    QWEN2,
    QWEN3_MOE,
    SMOLLM,
)
from tests.models.test_hf_config import JSON


def parsed(raw: dict[str, Any], **changes: Any) -> ModelConfig:
    return parse_model_config({**raw, **changes})


def without(raw: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in names}


def test_qwen2() -> None:
    config = parsed(QWEN2)
    assert (config.head_dim, config.num_kv_heads, config.attention_bias) == (64, 2, True)
    assert config.rope == Rope(64, 1e6)
    assert config.windows == ()


def test_llama() -> None:
    config = parsed(LLAMA)
    assert config.rope == Rope(64, 500_000.0, scaling=Llama3Scaling(32.0, 1.0, 4.0, 8192))
    assert (config.attention_bias, config.mlp_bias, config.tie_word_embeddings) == (False, False, True)
    assert parsed(LLAMA2).rope == Rope(128, 10_000.0)
    assert parse_model_config(without(LLAMA2, "num_key_value_heads")).num_kv_heads == 32
    assert (parsed(SMOLLM).head_dim, parsed(SMOLLM).rope.theta) == (64, 100_000.0)


def test_mistral() -> None:
    assert parsed(MISTRAL).windows == (4096,) * 32
    assert parse_model_config(without(MISTRAL, "sliding_window")).windows == (4096,) * 32
    assert parsed(MISTRAL, sliding_window=None).windows == ()
    assert parsed(MISTRAL, head_dim=160).head_dim == 160  # Mistral-Nemo has heads of its own size


def test_qwen3_moe() -> None:
    config = parsed(QWEN3_MOE)
    assert isinstance(config, Qwen3MoeConfig)
    assert config.experts == ExpertShape(128, 8, 768, renormalize=True)
    assert config.dense_layers == frozenset()
    sparse = parsed(QWEN3_MOE, decoder_sparse_step=2, mlp_only_layers=[47])
    assert isinstance(sparse, Qwen3MoeConfig)
    assert sparse.dense_layers == {*range(0, 48, 2), 47}


def test_gemma2() -> None:
    config = parsed(GEMMA2)
    assert isinstance(config, Gemma2Config)
    assert (config.attention_soft_cap, config.logit_soft_cap) == (50.0, 30.0)
    assert (config.embedding_scale, config.attention_scale) == (48.0, 1 / 16)
    assert config.windows == (4096, None) * 13
    assert parsed(GEMMA2, sliding_window_size=4096) == config
    assert config.tie_word_embeddings
    uncapped = parsed(GEMMA2, attn_logit_softcapping=None, final_logit_softcapping=None)
    assert isinstance(uncapped, Gemma2Config)
    assert (uncapped.attention_soft_cap, uncapped.logit_soft_cap) == (None, None)


def test_gemma3() -> None:
    config = parsed(GEMMA3)
    assert isinstance(config, Gemma3Config)
    assert config.windows == ((512,) * 5 + (None,)) * 4 + (512, 512)
    assert (config.rope, config.local_rope) == (Rope(256, 1e6), Rope(256, 1e4))
    nested = without(GEMMA3, "rope_theta", "rope_local_base_freq", "rope_scaling")
    nested["rope_parameters"] = {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    assert parse_model_config(nested) == config


def test_phi3() -> None:
    config = parsed(PHI3)
    factors = PairwiseScaling((1.0,) * 24 + (1.25,) * 24)
    magnitude = math.sqrt(1 + math.log(32) / math.log(4096))
    assert config.rope == Rope(128, 1e4, rotary_dim=96, scaling=factors, magnitude=magnitude)
    assert config.max_position_embeddings == 4096  # beyond it, keys that are cached would change
    assert config.windows == (262144,) * 32
    short = {"rope_scaling": None, "partial_rotary_factor": None, "max_position_embeddings": 8192}
    assert parsed(PHI3, **short).rope == Rope(128, 1e4, rotary_dim=128)
    assert parsed(PHI3, **short).max_position_embeddings == 8192


def test_gemmas_embedding_scale_does_not_depend_on_the_weights_type() -> None:
    for dtype in ("float32", "bfloat16", "float16"):
        for architecture in (GEMMA2, GEMMA3):
            config = parsed(architecture, hidden_size=3584, torch_dtype=dtype)
            assert isinstance(config, Gemma2Config | Gemma3Config)
            assert config.embedding_scale == torch.tensor(3584**0.5).item()


UNSUPPORTED: list[tuple[str, Any]] = [
    ("hidden_act", "relu"),
    ("hidden_activation", "relu"),
    ("quantization_config", {"quant_method": "gptq", "bits": 4}),
    ("rope_scaling", {"rope_type": "dynamic", "factor": 4.0}),
    ("partial_rotary_factor", 0.5),
    ("layer_types", ["chunked_attention"] * 64),
    ("model_type", "another"),
    ("auto_map", {"AutoModelForCausalLM": "modeling.Mine"}),
    ("a_field_of_the_future", 1),
]
HONOURED = {"hidden_act": ("gemma2", "gemma3"), "partial_rotary_factor": ("phi3",)}  # or without effect


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        (name, field, value)
        for name in PUBLISHED
        for field, value in UNSUPPORTED
        if not name.startswith(HONOURED.get(field, ()))
    ],
)
def test_what_no_family_implements_is_refused_by_name(name: str, field: str, value: Any) -> None:
    raw = {**PUBLISHED[name], field: value}
    with pytest.raises((UnsupportedModelError, CheckpointError), match=field):
        parse_model_config(raw)


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        (QWEN2, "attention_bias", True),
        (QWEN2, "mlp_bias", True),
        (MISTRAL, "attention_bias", True),
        (MISTRAL, "layer_types", ["full_attention"] * 32),
        (LLAMA, "sliding_window", 4096),
        (LLAMA, "rope_interleaved", True),
        (LLAMA, "pretraining_tp", 2),
        (QWEN3_MOE, "num_local_experts", 64),
        (QWEN3_MOE, "final_logit_softcapping", 30.0),
        (PHI3, "full_attn_mod", 2),
        (PHI3, "lm_head_bias", True),
        (PHI3, "rope_scaling", {**PHI3["rope_scaling"], "scale": 2}),
        (GEMMA2, "hidden_activation", "gelu"),
        (GEMMA2, "sliding_window_size", 2048),
        (GEMMA2, "use_bidirectional_attention", True),
        (GEMMA3, "attn_logit_softcapping", 50.0),
        (GEMMA3, "use_bidirectional_attention", True),
    ],
)
def test_what_a_family_does_not_implement_is_refused_by_name(
    raw: dict[str, Any], field: str, value: Any
) -> None:
    with pytest.raises(UnsupportedModelError, match=field):
        parsed(raw, **{field: value})


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        (LLAMA2, "hidden_size", 4100),
        (LLAMA, "rope_scaling", {"rope_type": "llama3", "factor": 8.0}),
        (LLAMA, "rope_theta", 1),
        (PHI3, "rope_theta", 1),
        (GEMMA3, "rope_local_base_freq", 1),
        (PHI3, "rope_scaling", {"type": "longrope", "long_factor": [1.0] * 48, "short_factor": [1.0] * 47}),
        (PHI3, "rope_scaling", {"type": "longrope", "long_factor": [0] * 48, "short_factor": [1.0] * 48}),
        (PHI3, "partial_rotary_factor", 0.7),
        (QWEN3_MOE, "num_experts_per_tok", 129),
        (QWEN3_MOE, "mlp_only_layers", [48]),
        (QWEN3_MOE, "norm_topk_prob", "yes"),
        (GEMMA2, "query_pre_attn_scalar", 0),
        (GEMMA2, "attn_logit_softcapping", -50.0),
        (GEMMA3, "sliding_window", None),
        (GEMMA3, "sliding_window_pattern", 0),
        (GEMMA3, "rope_local_base_freq", "low"),
        (MISTRAL, "sliding_window", 0),
    ],
)
def test_impossible_values_are_named(raw: dict[str, Any], field: str, value: Any) -> None:
    named = "factor" if field == "rope_scaling" else field
    with pytest.raises(CheckpointError, match=f"{named}.*must be"):
        parsed(raw, **{field: value})


ROPE_NAMES = """
    rope_type type rope_theta factor low_freq_factor high_freq_factor attention_factor beta_fast beta_slow
    mscale mscale_all_dim truncate original_max_position_embeddings partial_rotary_factor
"""
ROPE_FIELDS = st.dictionaries(
    st.sampled_from(ROPE_NAMES.split()),
    st.sampled_from([0, 1, 2, 8, 0.5, 1.0, 4.0, -1, 1e300, 8192, True, None, "default"]),
)
ROPES = st.tuples(st.sampled_from(["linear", "llama3", "yarn", "longrope", "dynamic"]), ROPE_FIELDS).map(
    lambda drawn: {
        "factor": 2.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        **drawn[1],
        "rope_type": drawn[0],
    }
)


@pytest.mark.parametrize("name", PUBLISHED)
def test_any_value_of_any_field_parses_or_is_refused(name: str) -> None:
    raw = PUBLISHED[name]
    fields = [*raw, "rope_parameters", "layer_types", "dtype", "num_local_experts", "head_dim"]
    field_and_value = st.tuples(st.sampled_from(fields), JSON)
    rope = st.tuples(st.sampled_from(["rope_parameters", "rope_scaling"]), ROPES)
    nested = st.tuples(st.just("rope_parameters"), st.fixed_dictionaries({"full_attention": ROPES}))

    @settings(max_examples=150)
    @given(field_and_value | rope | nested, st.sampled_from([1, 1.000001, 10_000.0]))
    def check(change: tuple[str, Any], theta: float) -> None:
        try:
            config = parse_model_config({**raw, "rope_theta": theta, **dict([change])})
        except ModelError:
            return
        assert len(inverse_frequencies(config.rope)) == config.rope.num_rotated // 2
        assert config.window(config.num_layers - 1) is None or config.windows

    check()
