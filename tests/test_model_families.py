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
from tests.family_shapes import MODELS

BACKENDS = ("torch", "native")
LENGTHS = (1, 2, 17, 64, 130, 300)
NUM_TOKENS = 20
OPTIONS = replace(gate.OPTIONS, max_num_batched_tokens=256, max_num_seqs=len(LENGTHS), max_model_len=512)

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
@pytest.mark.parametrize("name", ["gemma2", "gemma3", "phi3", "qwen3_moe"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_weights_agree(models: Models, backend: str, name: str, dtype: str) -> None:
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
