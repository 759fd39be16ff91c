"""Names: the `gguf` package's map is the oracle."""

import gguf
import numpy as np
import pytest

from gradus.models.checkpoint.gguf.names import gguf_name, half_split_rows, hf_name, interleaved_rows
from gradus.models.weights import expected_weights
from tests.tiny_models import tiny_config

ARCHITECTURES = {
    "Qwen3ForCausalLM": gguf.MODEL_ARCH.QWEN3,
    "Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2,
    "LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA,
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_names_agree_with_the_gguf_package(architecture):
    config = tiny_config(
        architecture=architecture,
        tie_word_embeddings=False,
        attention_bias=True,
        num_layers=12,
        mlp_bias=True,
    )
    names = gguf.get_tensor_name_map(ARCHITECTURES[architecture], config.num_layers)
    for name in expected_weights(config):
        assert gguf_name(name) == names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert hf_name(gguf_name(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "weight", "blk.0.weight", "blk.x.attn_q.weight", "blk.00.attn_q.weight", "blk.-1.attn_q.weight"],
)
def test_names_of_nothing(name):
    assert hf_name(name) is None
    assert gguf_name(name) is None


def test_the_order_of_rows_undoes_itself():
    rows = np.arange(3 * 8)
    assert interleaved_rows(24, 8)[:8].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert rows[interleaved_rows(24, 8)][half_split_rows(24, 8)].tolist() == rows.tolist()
