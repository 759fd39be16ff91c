"""Quantized models: native against torch on the same dequantized weights, programs against eager, memory."""

import numpy as np
import pytest

from gradus.backends.native.weights import Weights
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.runtime import load_runtime
from tests.backends.native.harness import make_batch, make_executor
from tests.backends.native.test_program import logits_of_some_steps
from tests.tiny_models import LoudCheckpoint, tiny_backend, tiny_config

WIDTHS = ("int8", "int4")
UNEVEN = {"hidden_size": 56, "intermediate_size": 83, "tie_word_embeddings": False, "attention_bias": True}


def logits(name="native", **changes):
    tokens = np.arange(60) * 7 % 97
    batch = make_batch([60], [60], token_ids=tokens, output_rows=range(60), return_logits=True)
    backend = tiny_backend(name, kv_cache_dtype="f32", **changes)
    found = backend.execute(batch).logits
    backend.close()
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("changes", [{}, UNEVEN])
def test_f32_activations_agree_with_the_reference(cpu_variant, width, changes):
    config = tiny_config(**changes)
    reference = logits("torch", config=config, quantization=width)
    found = logits(config=config, quantization=width, activations="f32")
    assert np.abs(found - reference).max() <= 1e-4 * reference.std()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("changes", [{}, UNEVEN])
def test_int8_activations_are_close_but_not_exact(cpu_variant, width, changes):
    config = tiny_config(**changes)
    reference = logits("torch", config=config, quantization=width)
    error = np.abs(logits(config=config, quantization=width, activations="int8") - reference)
    assert 1e-4 * reference.std() < np.sqrt((error**2).mean()) < 0.05 * reference.std()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activations", ["int8", "f32"])
@pytest.mark.parametrize("changes", [{}, UNEVEN])
def test_a_program_gives_the_bits_that_eager_execution_gives(cpu_variant, width, activations, changes):
    options = {
        "config": tiny_config(**changes),
        "quantization": width,
        "activations": activations,
    }
    program, eager = tiny_backend(**options), tiny_backend(**options, enforce_eager=True)
    assert np.array_equal(logits_of_some_steps(program), logits_of_some_steps(eager))


def test_bytes_are_those_of_codes_scales_and_centres(cpu_variant):
    executor = make_executor(cpu_variant)
    int8 = Weights(LoudCheckpoint(tiny_config()), tiny_config(), "bf16", executor, "int8")
    int8.linear(["model.embed_tokens"])  # 97 outputs in 7 panels of 16, 48 inputs in 2 groups of 32
    assert int8.num_bytes == 112 * 2 * (32 + 2)
    int4 = Weights(LoudCheckpoint(tiny_config()), tiny_config(), "bf16", executor, "int4")
    int4.linear(["model.layers.0.mlp.down_proj"])  # 48 outputs, 80 inputs in 3 groups
    assert int4.num_bytes == 48 * 3 * (16 + 2 + 2)
    int4_all = Weights(LoudCheckpoint(tiny_config()), tiny_config(), "bf16", executor, "int4-all")
    int4_all.linear(["model.layers.0.mlp.down_proj"])  # the 80 inputs share a scale
    assert int4_all.num_bytes == 48 * (3 * 16 + 2)


def test_quantized_weights_take_less_memory(cpu_variant):
    whole, int8, int4 = (tiny_backend(quantization=q).weight_bytes for q in ("none", "int8", "int4"))
    assert int4 < int8 < whole / 2


def test_the_configuration_reaches_the_backend():
    runtime = load_runtime(EngineConfig(quantization="int4", kv_cache_memory_bytes=1 << 24))
    assert runtime.backend.weight_bytes < 3e6
    runtime.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantization": "int5"}, "quantization is 'int5'"),
        ({"quantization": "int4", "activations": "f16"}, "activations is 'f16'"),
        ({"quantization": "int8", "activations": "int8", "backend": "torch"}, "torch backend"),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EngineConfig(**options)
