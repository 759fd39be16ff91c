"""Phi-3, Phi-3.5 and Phi-4-mini.

Source: the Phi-3 technical report, 2024, and the published configurations.
"""

import math
from typing import Any

from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import (
    check_model_type,
    decoder_values,
    read_head_dim,
    read_num_kv_heads,
    read_num_layers,
    read_window,
)
from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import (
    MAX_FACTOR,
    MAX_POSITIONS,
    MAX_THETA,
    MIN_THETA,
    Scaled,
    one_theta,
    rope_kind,
)
from gradus.models.ops import Ops
from gradus.models.rope import PairwiseScaling, Rope

LONGROPE = ("longrope", "su", "yarn")  # transformers reads the older two names as the first


def phi3(ops: Ops, cfg: ModelConfig) -> None:
    """Llama with q, k and v in one stored matrix, gate and up in another, and heads that may turn in part."""
    heads, kv_heads = cfg.num_heads * cfg.head_dim, cfg.num_kv_heads * cfg.head_dim
    x = ops.embed("model.embed_tokens")
    for i in range(cfg.num_layers):
        with ops.scope(f"model.layers.{i}"):
            h = ops.rms_norm(x, "input_layernorm", cfg.rms_norm_eps)
            q, k, v = ops.fused_linear(h, "self_attn.qkv_proj", [heads, kv_heads, kv_heads])
            q, k = ops.rope(q, k, cfg.rope)
            h = ops.attention(q, k, v, layer=i, scale=cfg.head_dim**-0.5, window=cfg.window(i))
            x = ops.add(x, ops.row_linear(h, "self_attn.o_proj"))
            if i == cfg.num_layers - 1:
                x = ops.select_rows(x)
            h = ops.rms_norm(x, "post_attention_layernorm", cfg.rms_norm_eps)
            gate, up = ops.fused_linear(h, "mlp.gate_up_proj", [cfg.intermediate_size] * 2)
            x = ops.add(x, ops.row_linear(ops.silu_mul(gate, up), "mlp.down_proj"))
    x = ops.rms_norm(x, "model.norm", cfg.rms_norm_eps)
    ops.output("hidden", x)
    ops.output("logits", ops.lm_head(x, "model.embed_tokens" if cfg.tie_word_embeddings else "lm_head"))


def phi3_config(fields: Fields, stored_dtype: str) -> ModelConfig:
    """A model with LongRoPE is held to the context that it was trained with first; see `_longrope`."""
    check_model_type(fields, "phi3")
    _check_code(fields)
    for name in ("full_attn_mod", "interpolate_factor"):
        fields.only(name, [1], "Only Phi's own value is supported.")
    head_dim = read_head_dim(fields)
    window = read_window(fields)
    rope, context = _rope(fields, head_dim)
    values = decoder_values(fields, stored_dtype)
    return ModelConfig(
        **values | {"max_position_embeddings": context},
        num_kv_heads=read_num_kv_heads(fields, may_be_absent=True),
        head_dim=head_dim,
        rope=rope,
        attention_bias=False,
        windows=(window,) * read_num_layers(fields) if window else (),
    )


def _check_code(fields: Fields) -> None:
    """`auto_map` names the code from before transformers had the architecture, which computes the same."""
    code = fields.inner("auto_map")
    if code is None:
        return
    code.only("AutoConfig", ["configuration_phi3.Phi3Config"], "Only Phi-3's own code is known.")
    code.only("AutoModelForCausalLM", ["modeling_phi3.Phi3ForCausalLM"], "Only Phi-3's own code is known.")
    code.refuse_unhandled(("AutoTokenizer",))


def _rope(fields: Fields, head_dim: int) -> tuple[Rope, int]:
    """The rotary embedding, and the context in which it holds."""
    context = fields.integer("max_position_embeddings", 1, MAX_POSITIONS)
    original = fields.integer("original_max_position_embeddings", 2, MAX_POSITIONS, default=4096)
    inners = [inner for name in ("rope_parameters", "rope_scaling") if (inner := fields.inner(name))]
    places = [fields, *inners]
    thetas = [theta for place in places for theta in _numbers(place, "rope_theta", MAX_THETA, MIN_THETA)]
    shares = {share for place in places for share in _numbers(place, "partial_rotary_factor", 1.0)} or {1.0}
    rotary_dim = int(head_dim * min(shares))
    if len(shares) > 1 or rotary_dim < 2 or rotary_dim % 2:
        raise fields.broken("partial_rotary_factor", f"one share of the heads' {head_dim} that is even")
    scaled: Scaled | None = None
    for inner in inners:
        if rope_kind(inner) != "default":
            scaled = _longrope(inner, rotary_dim // 2, context, original)
        inner.refuse_unhandled(())
    scaling, magnitude = scaled or (None, 1.0)
    theta = one_theta(fields, thetas, 10_000.0)
    rope = Rope(head_dim, theta, rotary_dim=rotary_dim, scaling=scaling, magnitude=magnitude)
    return rope, min(context, original) if scaled else context


def _longrope(inner: Fields, num_pairs: int, context: int, original: int) -> Scaled:
    """The factors for sequences within the original context, and the magnitude, which is that of all.

    Longer sequences have factors of their own, from their first token on: keys that are cached already would
    be wrong as soon as a sequence outgrew the original context. So none does.
    Source: Ding et al. 2024, section 3; transformers for the magnitude.
    """
    if rope_kind(inner) not in LONGROPE:
        raise inner.unsupported("rope_type", rope_kind(inner), ["default", "longrope"], "Phi-3 has no other.")
    for name in ("long_factor", "short_factor"):
        factors = inner.raw(name)
        if not isinstance(factors, list) or len(factors) != num_pairs or not all(map(_is_factor, factors)):
            raise inner.broken(name, f"{num_pairs} positive numbers")
    stated = inner.integer("original_max_position_embeddings", 1, MAX_POSITIONS, default=original)
    if stated != original:
        raise inner.broken("original_max_position_embeddings", f"{original} as outside of it")
    growth = (_numbers(inner, "factor", MAX_FACTOR) or [context / original])[0]
    computed = math.sqrt(1 + math.log(growth) / math.log(original)) if growth > 1 else 1.0
    magnitude = (_numbers(inner, "attention_factor", MAX_FACTOR) or [computed])[0]
    return PairwiseScaling(tuple(float(factor) for factor in inner.raw("short_factor"))), magnitude


def _is_factor(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_FACTOR


def _numbers(fields: Fields, name: str, high: float, low: float = 0.0) -> list[float]:
    """The field as a list of one, or empty where it is null or absent."""
    return [] if fields.raw(name) is None else [fields.number(name, low, high)]
