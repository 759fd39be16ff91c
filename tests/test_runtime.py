"""What the runtime refuses once it knows both the configuration and the model."""

import re

import pytest

from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.runtime import load_runtime
from tests.gguf_files import write_model

TYPES = {"blk.0.ffn_up.weight": "Q8_0"}


def test_8_bit_activations_need_quantized_weights():
    with pytest.raises(ConfigError, match="activations is int8, but the weights are not quantized"):
        load_runtime(EngineConfig(activations="int8"))


def test_what_was_loaded_is_told_in_one_line():
    """A token of the demo model takes 2,048 bytes: keys and values of 4 layers, 4 heads of 32, in f16."""
    runtime = load_runtime(EngineConfig(kv_cache_memory_bytes=1 << 26))
    runtime.close()
    assert re.fullmatch(
        r"demo: Qwen3ForCausalLM, context 2,048 tokens, weights \d+ MiB, KV cache 32,768 tokens "
        r"\(f16, 64 MiB\)",
        runtime.summary,
    )


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantized_weights_are_not_quantized_again(quantization, tmp_path):
    path = write_model(tmp_path / "m.gguf", types=TYPES)
    with pytest.raises(ConfigError, match=f"quantization is {quantization}, but the weights of m are stored"):
        load_runtime(EngineConfig(model=str(path), quantization=quantization))
