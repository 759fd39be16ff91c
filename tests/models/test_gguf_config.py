"""GGUF's metadata gives the same `ModelConfig` as Hugging Face's files; what is not there is refused."""

from dataclasses import replace

import numpy as np
import pytest

from gradus.errors import CheckpointError, UnsupportedModelError
from gradus.export.gguf import export_gguf
from gradus.models.config import ModelConfig
from gradus.models.generation_config import GenerationDefaults
from gradus.models.hf_config import parse_model_config
from gradus.models.rope import Llama3Scaling, PairwiseScaling, inverse_frequencies
from gradus.models.sources import ModelSource, resolve_model
from tests.gguf_files import SHAPE, write_model
from tests.tiny_models import LoudCheckpoint

SIZES = {
    "vocab_size": 450,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | SIZES
QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"} | SIZES
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 32} | SIZES
MISTRAL = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 17} | SIZES
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def convert(raw, directory, tokenizer, generation=None) -> tuple[ModelConfig, ModelSource]:
    """What Hugging Face's fields say, and the source that the written GGUF file is."""
    config = parse_model_config(raw)
    source = ModelSource(
        kind="local",
        name="m",
        config=config,
        checkpoint=LoudCheckpoint(config),
        tokenizer_path=tokenizer,
        generation=generation or GenerationDefaults(eos_token_ids=(2,)),
    )
    export_gguf(source, directory / "m.gguf", "bf16")
    return config, resolve_model(str(directory / "m.gguf"))


@pytest.mark.parametrize(
    "raw",
    [
        LLAMA,
        LLAMA | {"tie_word_embeddings": True, "num_key_value_heads": 4, "head_dim": 32},
        LLAMA | {"attention_bias": True, "mlp_bias": True},
        LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 2.5}},
        QWEN2,
        QWEN2 | {"rope_scaling": YARN},
        QWEN3,
        QWEN3 | {"tie_word_embeddings": True, "rope_theta": 1e6, "rms_norm_eps": 1e-6},
        QWEN3 | {"attention_bias": True, "rope_scaling": YARN | {"beta_fast": 16.0, "beta_slow": 2.0}},
        MISTRAL,
        MISTRAL | {"sliding_window": None, "head_dim": 32},
    ],
)
def test_the_configuration_of_a_converted_model_is_the_same(raw, tmp_path, tiny_model_path):
    config, found = convert(raw, tmp_path, tiny_model_path)
    as_llama = config.architecture.replace("Mistral", "Llama")
    assert found.config == replace(config, architecture=as_llama)


def test_llama_3_s_factors_come_from_their_tensor(tmp_path, tiny_model_path):
    config, found = convert(LLAMA | {"head_dim": 64, "rope_scaling": LLAMA3}, tmp_path, tiny_model_path)
    assert isinstance(config.rope.scaling, Llama3Scaling)
    assert isinstance(found.config.rope.scaling, PairwiseScaling)
    assert replace(found.config, rope=config.rope) == config
    np.testing.assert_allclose(
        inverse_frequencies(found.config.rope), inverse_frequencies(config.rope), rtol=3e-7
    )
    assert found.config.rope.scaling.factors[0] == 1.0
    assert found.config.rope.scaling.factors[-1] == pytest.approx(8.0)


@pytest.mark.parametrize("architecture", ["qwen3", "qwen2", "llama"])
@pytest.mark.parametrize("tied", [False, True])
def test_a_file_of_the_gguf_package_is_understood(architecture, tied, tmp_path):
    path = write_model(tmp_path / "m.gguf", architecture, {"blk.0.attn_q.weight": "Q4_0"}, tied=tied)
    source = resolve_model(str(path))
    config = source.config
    assert (source.kind, source.name, source.tokenizer_path) == ("gguf", "m", path)
    assert config.architecture.lower().startswith(architecture)
    assert [config.num_layers, config.hidden_size, config.intermediate_size, config.num_heads] == [
        SHAPE[name] for name in ("layers", "hidden", "ffn", "heads")
    ]
    assert (config.tie_word_embeddings, config.attention_bias) == (tied, architecture == "qwen2")
    assert source.is_quantized
    assert source.metadata["tokenizer.ggml.tokens"][7] == "token7"


def test_defaults_are_llama_cpp_s(tmp_path):
    without = ["llama.attention.key_length", "llama.attention.value_length", "llama.rope.freq_base"]
    without += ["llama.attention.head_count_kv", "blk.0.attn_k.weight", "blk.1.attn_k.weight"]
    path = tmp_path / "m.gguf"
    hidden = SHAPE["hidden"]
    square = {f"blk.{i}.attn_k.weight": np.zeros((hidden, hidden), np.float32) for i in range(2)}
    values = {f"blk.{i}.attn_v.weight": np.zeros((hidden, hidden), np.float32) for i in range(2)}
    queries = {f"blk.{i}.attn_q.weight": np.zeros((hidden, hidden), np.float32) for i in range(2)}
    outputs = {f"blk.{i}.attn_output.weight": np.zeros((hidden, hidden), np.float32) for i in range(2)}
    tensors = square | values | queries | outputs
    write_model(path, "llama", without=[*without, *tensors], tensors=tensors)
    config = resolve_model(str(path)).config
    assert (config.head_dim, config.num_kv_heads, config.rope.theta) == (hidden // 4, 4, 10_000.0)


@pytest.mark.parametrize(
    ("architecture", "extra", "words"),
    [
        ("gemma3", {}, "general.architecture is 'gemma3'; of GGUF files Gradus runs qwen3, qwen2, llama"),
        ("llama", {"llama.expert_count": 8}, "llama: expert_count is 8"),
        ("llama", {"llama.rope.scaling.type": "longrope"}, "rope.scaling.type is 'longrope'"),
        ("llama", {"llama.rope.scaling.factor": 4.0}, "rope.scaling.factor is 4.0"),
        ("llama", {"llama.rope.dimension_count": 16}, "rope.dimension_count is 16"),
        ("llama", {"llama.attention.causal": False}, "attention.causal is False"),
        ("llama", {"llama.logit_scale": 0.5}, "logit_scale is 0.5, a field that Gradus does not know"),
        ("qwen3", {"qwen3.attention.sliding_window": 64}, "attention.sliding_window is 64"),
        ("qwen2", {"qwen2.attention.value_length": 16}, "attention.value_length is 16"),
        (
            "llama",
            {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0}
            | {"llama.rope.scaling.yarn_ext_factor": 0.5},
            "yarn_ext_factor is 0.5",
        ),
        (
            "llama",
            {"llama.attention.head_count": [4, 8]},
            "attention.head_count is .*4, 8.*; it has 'one number'",
        ),
    ],
)
def test_what_gradus_does_not_implement_is_refused_by_name(architecture, extra, words, tmp_path):
    path = write_model(tmp_path / "m.gguf", architecture, extra=extra)
    with pytest.raises(UnsupportedModelError, match=words):
        resolve_model(str(path))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"llama.embedding_length": "64"}, "embedding_length is '64'; it must be an integer from 1"),
        ({"llama.block_count": 0}, "block_count is 0"),
        ({"llama.block_count": 3}, "no tensor named model.layers.2"),
        ({"llama.attention.head_count": 3}, "attention.head_count_kv is 2; it must be a divisor"),
        ({"llama.attention.key_length": 33}, "key_length is 33; it must be even"),
        ({"llama.context_length": -1.0}, "context_length is -1.0"),
        ({"llama.attention.layer_norm_rms_epsilon": 2.0}, "rms_epsilon is 2.0"),
        ({"llama.rope.freq_base": 0.0}, "freq_base is 0.0"),
        ({"llama.feed_forward_length": 128}, r"ffn|mlp.gate_proj.weight has shape \[96, 64\]"),
        ({"tokenizer.ggml.tokens": ["x"] * 41}, "41 tokens, but token_embd.weight has 40 rows"),
        ({"tokenizer.ggml.eos_token_id": "2"}, "eos_token_id is"),
        ({"general.sampling.temp": -1.0}, "m.gguf: temperature is -1.0"),
    ],
)
def test_what_is_broken_is_refused_with_its_value(extra, words, tmp_path):
    path = write_model(tmp_path / "m.gguf", "llama", extra=extra)
    with pytest.raises(CheckpointError, match=words):
        resolve_model(str(path))


@pytest.mark.parametrize(
    "missing",
    ["embedding_length", "block_count", "feed_forward_length", "attention.head_count", "context_length"],
)
def test_missing_keys_are_named(missing, tmp_path):
    path = write_model(tmp_path / "m.gguf", "qwen2", without=[f"qwen2.{missing}"])
    with pytest.raises(CheckpointError, match=f"qwen2: {missing} is missing"):
        resolve_model(str(path))


def test_tensors_that_are_not_read_are_refused(tmp_path):
    extra = {"blk.0.attn_sinks.weight": np.zeros(4, np.float32)}
    path = write_model(tmp_path / "m.gguf", tensors=extra)
    with pytest.raises(CheckpointError, match=r"1 tensors that Qwen3ForCausalLM does not read, .*attn_sinks"):
        resolve_model(str(path))


def test_factors_of_the_wrong_shape_are_refused(tmp_path):
    for factors in (np.ones(3, np.float32), np.zeros(16, np.float32)):
        path = write_model(tmp_path / "m.gguf", "llama", tensors={"rope_freqs.weight": factors})
        with pytest.raises(CheckpointError, match=r"rope_freqs\.weight has shape"):
            resolve_model(str(path))
    neutral = {"rope_freqs.weight": np.ones(16, np.float32)}
    path = write_model(tmp_path / "m.gguf", "llama", tensors=neutral)
    assert resolve_model(str(path)).config.rope.scaling is None
