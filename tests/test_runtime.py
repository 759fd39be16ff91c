"""What the runtime refuses once it knows both the configuration and the model."""

import pytest

from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.runtime import load_runtime
from tests.gguf_files import write_model

TYPES = {"blk.0.ffn_up.weight": "Q8_0"}


def test_8_bit_activations_need_quantized_weights():
    with pytest.raises(ConfigError, match="activations is int8, but the weights are not quantized"):
        load_runtime(EngineConfig(activations="int8"))


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_quantized_weights_are_not_quantized_again(quantization, tmp_path):
    path = write_model(tmp_path / "m.gguf", types=TYPES)
    with pytest.raises(ConfigError, match=f"quantization is {quantization}, but the weights of m are stored"):
        load_runtime(EngineConfig(model=str(path), quantization=quantization))
