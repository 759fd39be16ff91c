"""Which tensor gets which type: as llama.cpp's quantizer decided for models of these shapes."""

import pytest

from gradus.export.gguf_recipe import FILE_TYPES, tensor_type_of
from gradus.models.weights import expected_weights
from tests.tiny_models import tiny_config

# Layers whose values and down projections llama.cpp's quantizer gave six bits, by number of layers.
MORE_BITS = {
    2: [1],
    4: [2, 3],
    16: [0, 1, 4, 7, 10, 13, 14, 15],
    28: [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27],
}


def types_of(file_type, **changes):
    config = tiny_config(hidden_size=256, intermediate_size=512, head_dim=64, **changes)
    shapes = expected_weights(config)
    return {name: tensor_type_of(name, shapes[name], config, FILE_TYPES[file_type]).name for name in shapes}


@pytest.mark.parametrize("num_layers", MORE_BITS)
def test_q4_k_m_gives_more_bits_to_sensitive_matrices(num_layers):
    types = types_of("q4_k_m", num_layers=num_layers)
    more = {name for name, kind in types.items() if kind == "Q6_K"}
    expected = {"model.embed_tokens.weight"}
    for layer in MORE_BITS[num_layers]:
        expected |= {f"model.layers.{layer}.{name}.weight" for name in ("self_attn.v_proj", "mlp.down_proj")}
    assert more == expected
    assert types["model.layers.0.self_attn.q_proj.weight"] == "Q4_K"
    assert types["model.norm.weight"] == "F32"


def test_a_separate_head_has_more_bits_and_the_embedding_has_not():
    types = types_of("q4_0", tie_word_embeddings=False)
    assert (types["lm_head.weight"], types["model.embed_tokens.weight"]) == ("Q6_K", "Q4_0")


@pytest.mark.parametrize(
    ("file_type", "hidden_size", "name"),
    [("q4_k_m", 96, "Q5_0"), ("q6_k", 96, "Q8_0"), ("q4_k_m", 48, "F16"), ("q8_0", 48, "F16")],
)
def test_rows_that_blocks_do_not_fill_get_the_next_type(file_type, hidden_size, name):
    config = tiny_config(hidden_size=hidden_size)
    found = tensor_type_of(
        "model.layers.0.mlp.up_proj.weight", (80, hidden_size), config, FILE_TYPES[file_type]
    )
    assert found.name == name
