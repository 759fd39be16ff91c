"""Which kernel attends, and what is refused."""

import pytest

from gradus import LLM
from gradus.backends import attention
from gradus.backends.attention import choose_attention, cpu_has_bf16
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.runtime import load_runtime
from gradus.sampling_params import SamplingParams

PARAMS = SamplingParams(temperature=0, max_tokens=1, ignore_eos=True, logprobs=5)


@pytest.fixture(params=[True, False], ids=["with bf16", "without"])
def has_bf16(request, monkeypatch):
    monkeypatch.setattr(attention, "cpu_has_bf16", lambda: request.param)
    return request.param


@pytest.mark.parametrize(
    ("settings", "kv_cache_dtype", "is_stored_quantized", "expected"),
    [
        ({"quantization": "int4"}, "f16", False, "int8"),
        ({"quantization": "int4-all"}, "f16", False, "int8"),
        ({"quantization": "int8"}, "f16", False, "bf16"),
        ({}, "f16", True, "bf16"),
        ({"quantization": "int4"}, "f32", False, "blocked"),
        ({"quantization": "int4", "activations": "f32"}, "f16", False, "blocked"),
        ({}, "f16", False, "blocked"),
        ({"backend": "torch", "quantization": "int4"}, "f16", False, "blocked"),
    ],
)
def test_auto_is_lossy_where_weights_and_activations_are_and_the_cpu_can(
    has_bf16, settings, kv_cache_dtype, is_stored_quantized, expected
):
    found = choose_attention(EngineConfig(**settings), kv_cache_dtype, is_stored_quantized)
    assert found == (expected if has_bf16 else "blocked")


@pytest.mark.parametrize("kind", ["blocked", "naive"])
def test_what_is_named_is_taken(has_bf16, kind):
    assert choose_attention(EngineConfig(attention=kind, quantization="int4"), "f16", True) == kind


@pytest.mark.parametrize("kind", ["int8", "bf16"])
def test_what_cannot_run_is_refused(has_bf16, kind):
    config = EngineConfig(attention=kind)
    with pytest.raises(ConfigError, match="the KV cache is f32; set kv_cache_dtype to f16"):
        choose_attention(config, "f32", True)
    with pytest.raises(ConfigError, match="which the torch backend lacks"):
        EngineConfig(attention=kind, backend="torch")
    if has_bf16:
        assert choose_attention(config, "f16", False) == kind
    else:
        with pytest.raises(ConfigError, match="a CPU with AVX512-BF16 and GRADUS_CPU unset or avx512"):
            choose_attention(config, "f16", True)


@pytest.mark.parametrize("kind", ["int8", "bf16"])
@pytest.mark.parametrize("variant", ["portable", "avx2"])
def test_variants_without_it_attend_in_f32(monkeypatch, variant, kind):
    monkeypatch.setenv("GRADUS_CPU", variant)
    assert not cpu_has_bf16()
    with pytest.raises(ConfigError, match=f"attention is {kind}"):
        load_runtime(EngineConfig(attention=kind, kv_cache_dtype="f16"))


def test_an_unknown_variant_is_refused(monkeypatch):
    monkeypatch.setenv("GRADUS_CPU", "z80")
    with pytest.raises(ConfigError, match="z80"):
        choose_attention(EngineConfig(quantization="int4"), "f16", False)


def test_the_engine_runs_what_was_chosen():
    """Rounded products move logprobs, by little, each in another way; elsewhere `auto` is the off path."""
    prompt = [1, 5, 9, 200, 33] * 20
    found = {}
    kinds = ["auto", "blocked", *["bf16"] * cpu_has_bf16()]
    for kind in kinds:
        with LLM(quantization="int4", kv_cache_dtype="f16", attention=kind, num_threads=1) as llm:
            output = llm.generate([{"prompt_token_ids": prompt}], PARAMS, use_tqdm=False)[0]
            found[kind] = [entry.logprob for entry in output.outputs[0].logprobs[0].values()]
    for kind in kinds:
        assert max(abs(a - b) for a, b in zip(found[kind], found["blocked"], strict=True)) < 0.2
    assert len(set(map(tuple, found.values()))) == (3 if cpu_has_bf16() else 1)
