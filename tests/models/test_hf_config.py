"""`config.json`: what is honoured, and what is refused by name."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.errors import CheckpointError, ModelError, UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.hf_config import load_model_config, parse_model_config
from gradus.models.rope import LinearScaling, Llama3Scaling, Rope, YarnScaling

# As published with Qwen3-0.6B (transformers 4).
PUBLISHED: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.51.0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}

EXPECTED = ModelConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=151936,
    hidden_size=1024,
    intermediate_size=3072,
    num_layers=28,
    num_heads=16,
    num_kv_heads=8,
    head_dim=128,
    rms_norm_eps=1e-6,
    rope=Rope(head_dim=128, theta=1e6),
    max_position_embeddings=40960,
    tie_word_embeddings=True,
    attention_bias=False,
    dtype="bf16",
)


def changed(**fields: Any) -> dict[str, Any]:
    return {**PUBLISHED, **fields}


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in PUBLISHED.items() if name not in names}


def test_published_configuration() -> None:
    assert parse_model_config(PUBLISHED) == EXPECTED


def test_configuration_in_the_style_of_transformers_5() -> None:
    raw = without("rope_theta", "rope_scaling", "torch_dtype")
    raw["rope_parameters"] = {"rope_theta": 1e6, "rope_type": "default"}
    raw["dtype"] = "bfloat16"
    raw["layer_types"] = ["full_attention"] * 28
    assert parse_model_config(raw) == EXPECTED


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_transformers_writes_is_read(tmp_path: Path, tied: bool, dtype: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        num_key_value_heads=8,
        head_dim=64,
        tie_word_embeddings=tied,
        attention_bias=True,
        rope_theta=12345.0,
        dtype=dtype,
        eos_token_id=[1, 2],
    )
    for path, use_diff in ((tmp_path / "diff.json", True), (tmp_path / "full.json", False)):
        config.to_json_file(path, use_diff=use_diff)
        parsed = load_model_config(path)
        assert (parsed.hidden_size, parsed.num_layers) == (config.hidden_size, config.num_hidden_layers)
        assert (parsed.num_heads, parsed.num_kv_heads, parsed.head_dim) == (32, 8, 64)
        assert parsed.rope == Rope(64, 12345.0)
        assert parsed.tie_word_embeddings is tied
        assert parsed.attention_bias is True
        assert parsed.dtype == {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}[dtype]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_act", "gelu"),
        ("layer_types", ["full_attention"] * 27 + ["sliding_attention"]),
        ("quantization_config", {"quant_method": "gptq", "bits": 4}),
        ("rope_scaling", {"rope_type": "dynamic", "factor": 4.0}),
        ("rope_scaling", {"type": "longrope", "short_factor": [1.0] * 64, "long_factor": [2.0] * 64}),
        ("rope_scaling", {"type": "linear", "rope_type": "llama3", "factor": 2.0}),
        ("rope_scaling", {"type": "linear", "factor": 2.0, "offset": 1}),
        ("rope_scaling", {"rope_type": "default", "factor": 2.0}),
        ("rope_parameters", {"rope_type": "mrope", "rope_theta": 1e6}),
        ("rope_parameters", {"rope_theta": 1e6, "partial_rotary_factor": 0.5}),
        ("partial_rotary_factor", 0.25),
        ("mlp_bias", True),
        ("final_logit_softcapping", 30.0),
        ("attn_logit_softcapping", 50.0),
        ("pruned_heads", {"0": [1]}),
        ("is_encoder_decoder", True),
        ("model_type", "qwen3_moe"),
        ("torch_dtype", "float8_e4m3fn"),
        ("auto_map", {"AutoModelForCausalLM": "modeling_qwen3.Mine"}),
        ("a_field_of_the_future", 1),
        ("a_field_of_the_future", 0),
    ],
)
def test_what_changes_the_result_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        parse_model_config(changed(**{field: value}))
    assert field in str(caught.value)


@pytest.mark.parametrize("field", ["quantization_config", "a_field_of_the_future", "rope_parameters"])
def test_null_is_as_good_as_absent(field: str) -> None:
    assert parse_model_config(changed(**{field: None})) == EXPECTED


def test_dropout_and_bookkeeping_do_not_matter() -> None:
    raw = changed(attention_dropout=0.1, initializer_range=1.0, _name_or_path="x", pad_token_id=0, top_k=50)
    assert parse_model_config(raw) == EXPECTED


@pytest.mark.parametrize(
    "architecture", ["MixtralForCausalLM", "Gemma3ForConditionalGeneration", "GPT2LMHeadModel"]
)
def test_other_architectures_are_refused_with_the_supported_ones(architecture: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"{architecture}.*Qwen3ForCausalLM"):
        parse_model_config(changed(architectures=[architecture]))


REQUIRED = [
    "architectures",
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "rope_theta",
    "vocab_size",
]


@pytest.mark.parametrize("field", REQUIRED)
def test_missing_fields_are_named(field: str) -> None:
    with pytest.raises(CheckpointError, match=f"{field} is missing"):
        parse_model_config(without(field))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", -64),
        ("hidden_size", 1 << 40),
        ("hidden_size", "1024"),
        ("hidden_size", 1024.0),
        ("num_hidden_layers", True),
        ("num_hidden_layers", 10**6),
        ("num_key_value_heads", 5),
        ("head_dim", 127),
        ("head_dim", None),
        ("rms_norm_eps", 0),
        ("rms_norm_eps", float("nan")),
        ("rope_theta", -1),
        ("rope_theta", 10**400),
        ("rope_scaling", "yarn"),
        ("rope_scaling", {"rope_type": "yarn"}),
        ("rope_scaling", {"rope_type": "linear", "factor": -1}),
        ("rope_scaling", {"rope_type": 3}),
        ("tie_word_embeddings", "yes"),
        ("architectures", []),
        ("architectures", "Qwen3ForCausalLM"),
        ("layer_types", ["full_attention"]),
    ],
)
def test_impossible_values_are_named_with_the_range(field: str, value: Any) -> None:
    with pytest.raises(CheckpointError, match=f"{field}.*must be|{field} is missing"):
        parse_model_config(changed(**{field: value}))


def test_contradicting_rope_bases_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"rope_theta.*the same wherever"):
        parse_model_config(changed(rope_parameters={"rope_theta": 10000.0, "rope_type": "default"}))


def test_absent_type_is_the_stored_one() -> None:
    assert parse_model_config(without("torch_dtype"), stored_dtype="f16").dtype == "f16"
    assert parse_model_config(PUBLISHED, stored_dtype="f16").dtype == "bf16"


def test_null_key_value_heads_are_as_many_as_query_heads() -> None:
    assert parse_model_config(changed(num_key_value_heads=None)).num_kv_heads == 16


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"3", b"\xff\xfe{}", b'{"a": NaN}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"],
)
def test_broken_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_model_config(path)


def test_huge_and_missing_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model_config(path)
    path.write_bytes(b" " * (5 << 20))
    with pytest.raises(CheckpointError, match=r"5,242,880 bytes"):
        load_model_config(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([*PUBLISHED, "rope_parameters", "layer_types", "dtype", "quantization_config"]), JSON)
def test_any_value_of_any_field_parses_or_is_refused(field: str, value: Any) -> None:
    try:
        config = parse_model_config(json.loads(json.dumps(changed(**{field: value}))))
    except ModelError:
        return
    assert config.num_heads % config.num_kv_heads == 0
    assert config.hidden_size > 0


def test_upper_layers_slide_where_they_are_told_to() -> None:
    raw = changed(use_sliding_window=True, sliding_window=4096, max_window_layers=26)
    assert parse_model_config(raw).windows == (None,) * 26 + (4096, 4096)
    kinds = ["sliding_attention", "full_attention"] * 14
    assert parse_model_config({**raw, "layer_types": kinds}).windows == (4096, None) * 14
    assert parse_model_config({**raw, "use_sliding_window": False}) == EXPECTED
    assert parse_model_config({**raw, "sliding_window": None}) == EXPECTED


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ({"rope_type": "linear", "factor": 2.0}, Rope(128, 1e6, scaling=LinearScaling(2.0))),
        (
            {
                "rope_type": "llama3",
                "factor": 32.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            },
            Rope(128, 1e6, scaling=Llama3Scaling(32.0, 1.0, 4.0, 8192)),
        ),
        (
            {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
            Rope(
                128,
                1e6,
                scaling=YarnScaling(4.0, 32768, 32.0, 1.0, True),
                magnitude=1 + 0.1 * math.log(4),
            ),
        ),
        (
            {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.5, "beta_fast": 16, "truncate": False},
            Rope(128, 1e6, scaling=YarnScaling(4.0, 40960, 16.0, 1.0, False), magnitude=0.5),
        ),
    ],
)
def test_rope_scalings(scaling: dict[str, Any], expected: Rope) -> None:
    assert parse_model_config(changed(rope_scaling=scaling)).rope == expected
    raw = without("rope_theta", "rope_scaling")
    raw["rope_parameters"] = {"rope_theta": 1e6, **scaling}
    assert parse_model_config(raw).rope == expected
