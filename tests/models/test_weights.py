"""Which weights a model reads."""

from dataclasses import replace

import numpy as np
import pytest

from gradus.errors import CheckpointError, UnsupportedModelError
from gradus.models.checkpoint.base import RawTensor
from gradus.models.sources import DUMMY_SHAPES
from gradus.models.weights import check_weights, expected_weights

CONFIG = replace(DUMMY_SHAPES["qwen3-8b"], num_layers=1, vocab_size=100)


class Shapes:
    """A checkpoint without data."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def names(self) -> set[str]:
        return set(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def read(self, name: str) -> RawTensor:
        return RawTensor("f32", np.zeros(self._shapes[name], np.float32))


def test_names_and_shapes() -> None:
    layer = "model.layers.0."
    assert expected_weights(CONFIG) == {
        "model.embed_tokens.weight": (100, 4096),
        layer + "input_layernorm.weight": (4096,),
        layer + "self_attn.q_proj.weight": (4096, 4096),
        layer + "self_attn.k_proj.weight": (1024, 4096),
        layer + "self_attn.v_proj.weight": (1024, 4096),
        layer + "self_attn.q_norm.weight": (128,),
        layer + "self_attn.k_norm.weight": (128,),
        layer + "self_attn.o_proj.weight": (4096, 4096),
        layer + "post_attention_layernorm.weight": (4096,),
        layer + "mlp.gate_proj.weight": (12288, 4096),
        layer + "mlp.up_proj.weight": (12288, 4096),
        layer + "mlp.down_proj.weight": (4096, 12288),
        "model.norm.weight": (4096,),
        "lm_head.weight": (100, 4096),
    }


def test_configuration_decides_on_biases_and_tying() -> None:
    assert "lm_head.weight" not in expected_weights(replace(CONFIG, tie_word_embeddings=True))
    biased = expected_weights(replace(CONFIG, attention_bias=True))
    assert biased["model.layers.0.self_attn.k_proj.bias"] == (1024,)
    assert biased["model.layers.0.self_attn.o_proj.bias"] == (4096,)


def test_missing_and_misshapen_weights_are_named() -> None:
    shapes = expected_weights(CONFIG)
    check_weights(CONFIG, Shapes({**shapes, "unused.weight": (1,)}))
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight; 1 of the 14"):
        check_weights(CONFIG, Shapes({name: s for name, s in shapes.items() if name != "model.norm.weight"}))
    with pytest.raises(CheckpointError, match=r"q_norm\.weight has shape \[64\].*\[128\]"):
        check_weights(CONFIG, Shapes({**shapes, "model.layers.0.self_attn.q_norm.weight": (64,)}))


def test_unknown_architecture() -> None:
    with pytest.raises(UnsupportedModelError, match="Qwen3ForCausalLM"):
        expected_weights(replace(CONFIG, architecture="Other"))
