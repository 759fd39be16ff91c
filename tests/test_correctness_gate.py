"""Every backend against transformers; and the gate itself against deliberate mutants."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from gradus.backends.options import BackendOptions
from gradus.models import registry
from gradus.models.config import ModelConfig
from gradus.models.sources import DEMO_DIRECTORY
from gradus.quantization.recipe import weight_width
from gradus.quantization.rtn import quantize
from tests import gate, mutants

BACKENDS = ("torch", "native")

SHAPES: dict[str, dict[str, object]] = {
    "heads_4_4_dim_16_tied": {
        "vocab_size": 301,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "rope_theta": 10_000.0,
    },
    "heads_4_2_dim_32": {
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_theta": 1_000_000.0,
        "rms_norm_eps": 1e-3,  # wide enough to be noticed
    },
    "heads_6_1_dim_24_bias": {
        "vocab_size": 257,
        "hidden_size": 72,
        "intermediate_size": 100,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 1,
        "head_dim": 24,
        "attention_bias": True,
        "rope_theta": 500_000.0,
    },
    "heads_8_2_dim_64_tied": {
        "vocab_size": 517,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "tie_word_embeddings": True,
        "rope_theta": 1_000_000.0,
    },
    "heads_4_1_dim_128": {
        "vocab_size": 400,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 128,
        "rope_theta": 1_000_000.0,
    },
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
PLAIN = "heads_4_2_dim_32"

VARIANTS = {
    "naive": replace(gate.OPTIONS, attention="naive"),
    "eager": replace(gate.OPTIONS, enforce_eager=True),
    "contiguous": gate.CONTIGUOUS,
    "contiguous_naive": replace(gate.CONTIGUOUS, attention="naive"),
    "small_steps": replace(gate.OPTIONS, max_num_batched_tokens=16, num_threads=1),
    "whole_prompts": replace(gate.OPTIONS, max_num_batched_tokens=4096),
    "blocks_of_64": replace(gate.OPTIONS, block_size=64, num_blocks=gate.OPTIONS.num_blocks // 2),
}

# The cache rounds K and V to 11 bits, each off by up to 2**-12 of itself; layers amplify that. Measured:
# 0.007.
F16_KV_TOLERANCE = 0.02

MUTANT_LENGTHS = (17, 100, 257)
SHORT_LENGTHS = (1, 17, 257)

Models = Callable[..., gate.Model]

_reports: dict[str, list[gate.Report]] = {backend: [] for backend in BACKENDS}


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Iterator[None]:
    """The matrices are too small to share, and other work on the machine makes sharing slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Each model is made once."""
    made: dict[tuple[str, str], gate.Model] = {}

    def model(shape: str, dtype: str = "f32") -> gate.Model:
        if (shape, dtype) not in made:
            directory = tmp_path_factory.mktemp(f"{shape}_{dtype}")
            made[shape, dtype] = gate.make_model(directory, DTYPES[dtype], **SHAPES[shape])
        return made[shape, dtype]

    return model


def passes(
    backend: str,
    model: gate.Model,
    options: BackendOptions = gate.OPTIONS,
    lengths: Sequence[int] = gate.PROMPT_LENGTHS,
) -> None:
    report = gate.run(model, backend, options, lengths=lengths)
    print(f"{report.max_error:.1e} of the standard deviation")
    gate.check(report)
    _reports[backend].append(report)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backend_agrees_with_transformers(models: Models, backend: str, shape: str) -> None:
    passes(backend, models(shape))


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_weights_agree(models: Models, backend: str, dtype: str) -> None:
    passes(backend, models(PLAIN, dtype))


@pytest.mark.parametrize("quantization", ["int8", "int4", "int4-all"])
@pytest.mark.parametrize("shape", [PLAIN, "heads_6_1_dim_24_bias"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_quantized_weights_agree(models: Models, backend: str, shape: str, quantization: str) -> None:
    """transformers has the values that the recipe's matrices stand for; widths of 72 and 100 leave gaps."""
    model = models(shape)
    quantized = gate.Model(model.directory, copy.deepcopy(model.oracle))
    with torch.no_grad():
        for name, parameter in quantized.oracle.named_parameters():
            if parameter.ndim == 2:
                chosen = weight_width(name.removesuffix(".weight"), quantization)
                assert chosen is not None
                parameter.copy_(torch.from_numpy(quantize(parameter.numpy(), chosen).dequantize()))
    options = replace(gate.OPTIONS, quantization=quantization)
    passes(backend, quantized, options, SHORT_LENGTHS)
    with pytest.raises(gate.GateError):
        gate.check(gate.run(model, backend, options, lengths=SHORT_LENGTHS[:2]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_switch_agrees(models: Models, variant: str) -> None:
    passes("native", models(PLAIN), VARIANTS[variant])


@pytest.mark.parametrize("variant", ["contiguous", "small_steps"])
def test_reference_agrees_however_work_is_cut(models: Models, variant: str) -> None:
    """The reference has no other switches."""
    passes("torch", models(PLAIN), VARIANTS[variant])


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_embedded_model_agrees(backend: str) -> None:
    """Trained weights, whose activations are less tame than random ones."""
    passes(backend, gate.open_model(DEMO_DIRECTORY), lengths=[n for n in gate.PROMPT_LENGTHS if n < 1024])


@pytest.mark.parametrize("backend", BACKENDS)
def test_few_comparisons_end_in_ties(backend: str) -> None:
    """Judges the runs of the tests above, in this order."""
    gate.check_ties(_reports[backend])


@pytest.mark.parametrize("attention", ["blocked", "naive"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_cache_is_close_but_not_exact(models: Models, backend: str, attention: str) -> None:
    options = replace(gate.OPTIONS, kv_cache_dtype="f16", attention=attention)
    report = gate.run(models(PLAIN), backend, options)
    print(f"{report.max_error:.1e} of the standard deviation")
    gate.check(report, F16_KV_TOLERANCE)
    with pytest.raises(gate.GateError):
        gate.check(report)


# Made anew for each run, since some of them act only once.
MUTANTS: dict[str, Callable[[], dict[str, Any]]] = {
    "rope base 1 % off": lambda: {"mutate_config": mutants.scale_rope_theta(1.01)},
    "rope base of another model": lambda: {"mutate_config": mutants.scale_rope_theta(0.01)},
    "epsilon of another model": lambda: {"mutate_config": mutants.usual_epsilon},
    "positions off by one after the first chunk": lambda: {"mutate_batch": mutants.shift_later_positions},
    "one block swapped in one step": lambda: {"mutate_batch": mutants.SwapBlocksOnce()},
    "one key written to the wrong slot": lambda: {"mutate_batch": mutants.MisplaceOneSlot()},
}


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_mutants_fail_the_gate(models: Models, backend: str, mutant: str) -> None:
    with pytest.raises(gate.GateError):
        gate.check(gate.run(models(PLAIN), backend, lengths=MUTANT_LENGTHS, **MUTANTS[mutant]()))


@pytest.mark.parametrize("function", ["without_head_norms", "without_scaling", "with_swapped_mlp_inputs"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_mutated_models_fail_the_gate(
    models: Models, backend: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._ARCHITECTURES, "Mutant", f"tests.mutants:{function}")

    def mutate(config: ModelConfig) -> ModelConfig:
        return replace(config, architecture="Mutant")

    with pytest.raises(gate.GateError):
        gate.check(gate.run(models(PLAIN), backend, lengths=MUTANT_LENGTHS, mutate_config=mutate))


@pytest.mark.parametrize("backend", BACKENDS)
def test_unmutated_short_run_passes(models: Models, backend: str) -> None:
    """So that the mutants above fail for what they are, not for their lengths."""
    gate.check(gate.run(models(PLAIN), backend, lengths=MUTANT_LENGTHS))


def test_a_broken_report_fails() -> None:
    with pytest.raises(gate.GateError):
        gate.check(gate.Report(1, max_error=float("nan")))
    tie = gate.Divergence("somewhere", margin=0.0)
    gate.check_ties([gate.Report(100, divergences=[tie])])
    with pytest.raises(gate.GateError):
        gate.check_ties([gate.Report(100, divergences=[tie, tie])])
