"""The recipe's table, as docs/quantization.md has it."""

import pytest

from gradus.quantization.recipe import weight_width

LAYER = "model.layers.3."
LINEAR = ["self_attn.q_proj", "self_attn.qkv_proj", "mlp.down_proj", "mlp.experts.7.up_proj"]
HEADS = ["lm_head", "model.embed_tokens"]


@pytest.mark.parametrize(
    ("quantization", "linear", "head"),
    [
        ("none", None, None),
        ("int8", "int8", "int8"),
        ("int4", "int4", "int8"),
        ("int4-all", "int4_g128", "int4_g128"),
    ],
)
def test_widths(quantization, linear, head):
    assert {weight_width(LAYER + name, quantization) for name in LINEAR} == {linear}
    assert {weight_width(name, quantization) for name in HEADS} == {head}
    assert weight_width(LAYER + "mlp.gate", quantization) is None
