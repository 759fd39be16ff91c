"""Every model family against transformers, on tiny random models in which each of its features matters.

The gate is that of `tests.test_correctness_gate`, with shorter prompts; what each family adds to the plain
decoder is also taken away, one piece at a time, to see that the gate notices.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradus.backends.options import BackendOptions
from gradus.models import registry
from gradus.models.config import ModelConfig
from gradus.models.qwen3_moe import Qwen3MoeConfig
from tests import gate, mutants

BACKENDS = ("torch", "native")
LENGTHS = (1, 2, 17, 64, 130, 300)
NUM_TOKENS = 20
OPTIONS = replace(gate.OPTIONS, max_num_batched_tokens=256, max_num_seqs=len(LENGTHS), max_model_len=512)

Shape = dict[str, Any]


def shape(heads: int, kv_heads: int, head_dim: int | None = None, **rest: Any) -> Shape:
    """A tiny decoder; without `head_dim`, heads share the hidden size."""
    width = {"head_dim": head_dim} if head_dim else {}
    sizes = {"vocab_size": 301, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    return {**sizes, "num_attention_heads": heads, "num_key_value_heads": kv_heads, **width, **rest}


def moe(num_experts: int, num_experts_per_tok: int, **rest: Any) -> Shape:
    sizes = {"num_experts": num_experts, "num_experts_per_tok": num_experts_per_tok}
    return shape(4, 2, 16, moe_intermediate_size=40, **sizes, **rest)


def gemma(heads: int, kv_heads: int, head_dim: int, **rest: Any) -> Shape:
    """Its norms' weights start at zero, and its logits stay where their cap does not flatten them."""
    return shape(heads, kv_heads, head_dim, query_pre_attn_scalar=20, initializer_range=0.2) | rest


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}

MODELS: dict[str, tuple[str, Shape]] = {
    "qwen2": ("Qwen2", shape(4, 2, tie_word_embeddings=False)),
    "qwen2_tied_yarn": ("Qwen2", shape(8, 1, tie_word_embeddings=True, rope_parameters=YARN)),
    "qwen2_upper_layers_slide": (
        "Qwen2",
        shape(4, 4, num_hidden_layers=3, use_sliding_window=True, sliding_window=19, max_window_layers=1),
    ),
    "llama": ("Llama", shape(4, 2, 32)),
    "llama_3": ("Llama", shape(6, 3, 24, hidden_size=72, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama_linear_biases": (
        "Llama",
        shape(
            4,
            None,
            attention_bias=True,
            mlp_bias=True,
            initializer_range=0.2,
            rope_parameters={"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0},
        ),
    ),
    "mistral": ("Mistral", shape(4, 1, 128, sliding_window=64)),
    "mistral_short_window": ("Mistral", shape(4, 2, sliding_window=7, rope_theta=1e6)),
    "mistral_long_window": ("Mistral", shape(4, 2, sliding_window=270)),
    "mistral_no_window": ("Mistral", shape(4, 2, sliding_window=None)),
    "gemma2": ("Gemma2", gemma(4, 2, 24, sliding_window=32, num_hidden_layers=3)),
    "gemma2_low_caps": (
        "Gemma2",
        gemma(4, 1, 16, sliding_window=5, attn_logit_softcapping=5.0, final_logit_softcapping=50.0),
    ),
    "gemma2_no_caps": (
        "Gemma2",
        gemma(
            2,
            2,
            32,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
            attention_bias=True,
            layer_types=["full_attention", "sliding_attention"],
            sliding_window=270,
            tie_word_embeddings=False,
        ),
    ),
    "gemma3": (
        "Gemma3",
        gemma(4, 2, 24, sliding_window=32, num_hidden_layers=3, sliding_window_pattern=3),
    ),
    "gemma3_scaled": (
        "Gemma3",
        gemma(
            4,
            1,
            32,
            sliding_window=9,
            final_logit_softcapping=60.0,
            layer_types=["full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        ),
    ),
    "phi3": ("Phi3", shape(4, 2, pad_token_id=0)),
    "phi3_window_partly_turned": (
        "Phi3",
        shape(
            4,
            None,
            hidden_size=96,
            pad_token_id=0,
            sliding_window=20,
            rope_parameters={"rope_theta": 900.0, "rope_type": "default", "partial_rotary_factor": 0.75},
            tie_word_embeddings=True,
        ),
    ),
    "phi3_longrope": (
        "Phi3",
        shape(
            2,
            1,
            pad_token_id=0,
            max_position_embeddings=8192,
            original_max_position_embeddings=512,
            rope_parameters={
                "rope_theta": 10_000.0,
                "rope_type": "longrope",
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.5, 3.0, 4.0],
                "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0],
            },
        ),
    ),
    "qwen3_moe": ("Qwen3Moe", moe(8, 2, norm_topk_prob=True)),
    "qwen3_moe_plain_shares": ("Qwen3Moe", moe(5, 3, norm_topk_prob=False, attention_bias=True)),
    "qwen3_moe_some_dense": (
        "Qwen3Moe",
        moe(4, 1, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1], tie_word_embeddings=True),
    ),
    "qwen3_moe_window": ("Qwen3Moe", moe(20, 20, use_sliding_window=True, sliding_window=33)),
}

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
OTHER_PATHS = {
    "naive": replace(OPTIONS, attention="naive"),
    "eager_small_steps": replace(OPTIONS, enforce_eager=True, max_num_batched_tokens=16, num_threads=1),
}

Models = Callable[..., gate.Model]

_reports: dict[str, list[gate.Report]] = {backend: [] for backend in BACKENDS}


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Each model is made once."""
    made: dict[tuple[str, str], gate.Model] = {}

    def model(name: str, dtype: str = "f32") -> gate.Model:
        if (name, dtype) not in made:
            family, sizes = MODELS[name]
            directory = tmp_path_factory.mktemp(f"{name}_{dtype}")
            made[name, dtype] = gate.make_model(directory, DTYPES[dtype], family=family, **sizes)
        return made[name, dtype]

    return model


def run(model: gate.Model, backend: str, options: BackendOptions = OPTIONS, **changes: Any) -> gate.Report:
    report = gate.run(model, backend, options, lengths=LENGTHS, num_tokens=NUM_TOKENS, **changes)
    print(f"{report.max_error:.1e} of the standard deviation")
    return report


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_agrees_with_transformers(models: Models, backend: str, name: str) -> None:
    report = run(models(name), backend)
    gate.check(report)
    _reports[backend].append(report)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("path", OTHER_PATHS)
def test_other_paths_agree(models: Models, path: str, name: str) -> None:
    report = run(models(name), "native", OTHER_PATHS[path])
    gate.check(report)
    _reports["native"].append(report)


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("name", ["gemma2", "phi3", "qwen3_moe"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_weights_agree(models: Models, backend: str, name: str, dtype: str) -> None:
    """Gemma's embeddings are scaled by 8, which every type holds: the oracle computes in f32."""
    report = run(models(name, dtype), backend)
    gate.check(report)
    _reports[backend].append(report)


@pytest.mark.parametrize("backend", BACKENDS)
def test_few_comparisons_end_in_ties(backend: str) -> None:
    """Judges the runs of the tests above."""
    gate.check_ties(_reports[backend])


def change(**fields: Any) -> Callable[[ModelConfig], ModelConfig]:
    return lambda config: replace(config, **fields)


def with_rope(**fields: Any) -> Callable[[ModelConfig], ModelConfig]:
    return lambda config: replace(config, rope=replace(config.rope, **fields))


def with_scaling(**fields: Any) -> Callable[[ModelConfig], ModelConfig]:
    def mutate(config: ModelConfig) -> ModelConfig:
        scaling: Any = config.rope.scaling
        return replace(config, rope=replace(config.rope, scaling=replace(scaling, **fields)))

    return mutate


def windows_longer_by(extra: int) -> Callable[[ModelConfig], ModelConfig]:
    return lambda config: replace(
        config, windows=tuple(window and window + extra for window in config.windows)
    )


def with_experts(**fields: Any) -> Callable[[ModelConfig], ModelConfig]:
    def mutate(config: ModelConfig) -> ModelConfig:
        assert isinstance(config, Qwen3MoeConfig)
        return replace(config, experts=replace(config.experts, **fields))

    return mutate


CONFIG_MUTANTS: dict[str, tuple[str, Callable[[ModelConfig], ModelConfig]]] = {
    "qwen2: no biases": ("qwen2", change(attention_bias=False)),
    "qwen2: yarn without its magnitude": ("qwen2_tied_yarn", with_rope(magnitude=1.0)),
    "qwen2: yarn of another factor": ("qwen2_tied_yarn", with_scaling(factor=3.9)),
    "qwen2: a window longer by one": ("qwen2_upper_layers_slide", windows_longer_by(1)),
    "qwen2: a window shorter by one": ("qwen2_upper_layers_slide", windows_longer_by(-1)),
    "qwen2: no windows": ("qwen2_upper_layers_slide", change(windows=())),
    "llama: no scaling": ("llama_3", with_rope(scaling=None)),
    "llama: scaling of another factor": ("llama_3", with_scaling(factor=7.9)),
    "llama: scaling for another context": ("llama_3", with_scaling(original_max_position_embeddings=80)),
    "llama: linear scaling of another factor": ("llama_linear_biases", with_scaling(factor=2.99)),
    "llama: no biases in the MLP": ("llama_linear_biases", change(mlp_bias=False)),
    "mistral: a window longer by one": ("mistral", windows_longer_by(1)),
    "mistral: a window shorter by one": ("mistral_long_window", windows_longer_by(-1)),
    "mistral: no window": ("mistral_long_window", change(windows=())),
    "gemma2: scores not capped": ("gemma2_low_caps", change(attention_soft_cap=None)),
    "gemma2: scores capped a little higher": ("gemma2_low_caps", change(attention_soft_cap=5.05)),
    "gemma2: logits not capped": ("gemma2_low_caps", change(logit_soft_cap=None)),
    "gemma2: scale by the size of heads": ("gemma2", change(attention_scale=24**-0.5)),
    "gemma2: embeddings not scaled": ("gemma2", change(embedding_scale=1.0)),
    "gemma2: a window longer by one": ("gemma2", windows_longer_by(1)),
    "gemma3: a window longer by one": ("gemma3", windows_longer_by(1)),
    "gemma3: no scaling": ("gemma3_scaled", with_rope(scaling=None)),
    "gemma3: one rotary base for all layers": ("gemma3", lambda c: replace(c, local_rope=c.rope)),
    "gemma3: logits not capped": ("gemma3_scaled", change(logit_soft_cap=None)),
    "phi3: whole heads turned": ("phi3_window_partly_turned", with_rope(rotary_dim=0)),
    "phi3: a window longer by one": ("phi3_window_partly_turned", windows_longer_by(1)),
    "phi3: no factors": ("phi3_longrope", with_rope(scaling=None)),
    "phi3: no magnitude": ("phi3_longrope", with_rope(magnitude=1.0)),
    "qwen3_moe: shares not renormalized": ("qwen3_moe", with_experts(renormalize=False)),
    "qwen3_moe: shares renormalized": ("qwen3_moe_plain_shares", with_experts(renormalize=True)),
    "qwen3_moe: one expert fewer for each token": ("qwen3_moe", with_experts(top_k=1)),
}


@pytest.mark.parametrize("mutant", CONFIG_MUTANTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_mutated_configurations_fail_the_gate(models: Models, backend: str, mutant: str) -> None:
    name, mutate = CONFIG_MUTANTS[mutant]
    with pytest.raises(gate.GateError):
        gate.check(run(models(name), backend, mutate_config=mutate))


@pytest.mark.parametrize("backend", BACKENDS)
def test_swapped_experts_fail_the_gate(models: Models, backend: str) -> None:
    with pytest.raises(gate.GateError):
        gate.check(run(models("qwen3_moe"), backend, mutate_checkpoint=mutants.SwappedExperts))


@pytest.mark.parametrize("function", ["with_silu_in_place_of_gelu", "without_norm_offset"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_mutated_models_fail_the_gate(
    models: Models, backend: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._ARCHITECTURES, "Mutant", f"tests.mutants:{function}")
    with pytest.raises(gate.GateError):
        gate.check(run(models("gemma2"), backend, mutate_config=change(architecture="Mutant")))
