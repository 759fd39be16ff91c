"""Gemma 3, text only. Source: the Gemma 3 technical report, 2025, and the published configurations."""

from dataclasses import dataclass

from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import (
    check_model_type,
    decoder_values,
    layer_windows,
    read_head_dim,
    read_num_kv_heads,
    read_window,
)
from gradus.models.hf_fields import Fields
from gradus.models.hf_gemma import GEMMA_WINDOW, check_gelu, embedding_scale, read_attention_scale, read_cap
from gradus.models.hf_rope import (
    MAX_POSITIONS,
    MAX_THETA,
    MIN_THETA,
    WHOLE_HEADS,
    Scaled,
    make_rope,
    read_scaling,
)
from gradus.models.ops import Ops
from gradus.models.rope import Rope

DEFAULT_PATTERN = 6  # every sixth layer is global
GLOBAL_THETA, LOCAL_THETA = 1_000_000.0, 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemma3Config(ModelConfig):
    """`rope` is that of the global layers."""

    local_rope: Rope
    embedding_scale: float
    attention_scale: float
    logit_soft_cap: float | None


def gemma3(ops: Ops, cfg: Gemma3Config) -> None:
    """Gemma 2 with norms on q and k in place of soft-capped scores, and a rotary base for local layers.

    A norm multiplies by one plus its weight.
    """
    eps, bias = cfg.rms_norm_eps, cfg.attention_bias
    x = ops.embed("model.embed_tokens", scale=cfg.embedding_scale)
    for i in range(cfg.num_layers):
        with ops.scope(f"model.layers.{i}"):
            h = ops.rms_norm(x, "input_layernorm", eps, offset=1.0)
            q, k, v = ops.column_linear(
                h, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], bias=bias
            )
            q = ops.rms_norm(q, "self_attn.q_norm", eps, head_dim=cfg.head_dim, offset=1.0)
            k = ops.rms_norm(k, "self_attn.k_norm", eps, head_dim=cfg.head_dim, offset=1.0)
            q, k = ops.rope(q, k, cfg.rope if cfg.window(i) is None else cfg.local_rope)
            h = ops.attention(q, k, v, layer=i, scale=cfg.attention_scale, window=cfg.window(i))
            h = ops.row_linear(h, "self_attn.o_proj", bias=bias)
            if i == cfg.num_layers - 1:
                x, h = ops.select_rows(x), ops.select_rows(h)
            x = ops.add(x, ops.rms_norm(h, "post_attention_layernorm", eps, offset=1.0))
            h = ops.rms_norm(x, "pre_feedforward_layernorm", eps, offset=1.0)
            gate, up = ops.column_linear(h, ["mlp.gate_proj", "mlp.up_proj"])
            h = ops.row_linear(ops.gelu_mul(gate, up), "mlp.down_proj")
            x = ops.add(x, ops.rms_norm(h, "post_feedforward_layernorm", eps, offset=1.0))
    x = ops.rms_norm(x, "model.norm", eps, offset=1.0)
    ops.output("hidden", x)
    head = "model.embed_tokens" if cfg.tie_word_embeddings else "lm_head"
    ops.output("logits", ops.lm_head(x, head, soft_cap=cfg.logit_soft_cap))


def gemma3_config(fields: Fields, stored_dtype: str) -> Gemma3Config:
    check_model_type(fields, "gemma3_text")
    check_gelu(fields)
    head_dim = read_head_dim(fields, may_be_absent=False)
    shared = decoder_values(fields, stored_dtype, tied=True)
    rope, local_rope = _ropes(fields, head_dim)
    return Gemma3Config(
        **shared,
        num_kv_heads=read_num_kv_heads(fields),
        head_dim=head_dim,
        rope=rope,
        local_rope=local_rope,
        attention_bias=fields.flag("attention_bias", default=False),
        windows=_windows(fields),
        embedding_scale=embedding_scale(shared["hidden_size"]),
        attention_scale=read_attention_scale(fields),
        logit_soft_cap=read_cap(fields, "final_logit_softcapping", default=None),
    )


def _windows(fields: Fields) -> tuple[int | None, ...]:
    fields.raw("_sliding_window_pattern")  # transformers' copy
    pattern = fields.integer("sliding_window_pattern", 1, MAX_POSITIONS, default=DEFAULT_PATTERN)
    window = read_window(fields, GEMMA_WINDOW)
    if window is None:
        raise fields.broken("sliding_window", "the number of tokens that local layers see")
    return layer_windows(fields, window, lambda layer: (layer + 1) % pattern != 0)


def _ropes(fields: Fields, head_dim: int) -> tuple[Rope, Rope]:
    """Of the global and of the local layers.

    By kind of layer in `rope_parameters` (transformers 5), or `rope_theta` with `rope_scaling` for the global
    ones and `rope_local_base_freq` for the local ones (transformers 4).
    """
    context = fields.integer("max_position_embeddings", 1, MAX_POSITIONS)
    old = (
        _old_theta(fields, "rope_theta", GLOBAL_THETA),
        _old_theta(fields, "rope_local_base_freq", LOCAL_THETA),
    )
    ropes = [make_rope(head_dim, theta, None) for theta in old]
    scaling = fields.inner("rope_scaling")
    if scaling is not None:
        ropes[0] = make_rope(head_dim, old[0], _scaling(scaling, context))
    nested = fields.inner("rope_parameters")
    if nested is not None:
        for i, kind in enumerate(("full_attention", "sliding_attention")):
            inner = nested.inner(kind)
            if inner is not None:
                theta = _old_theta(inner, "rope_theta", old[i])
                ropes[i] = make_rope(head_dim, theta, _scaling(inner, context))
        nested.refuse_unhandled(())
    return ropes[0], ropes[1]


def _old_theta(fields: Fields, name: str, default: float) -> float:
    return default if fields.raw(name) is None else fields.number(name, MIN_THETA, MAX_THETA)


def _scaling(inner: Fields, context: int) -> Scaled | None:
    inner.raw("rope_theta")
    inner.only("partial_rotary_factor", [1, 1.0], WHOLE_HEADS)
    scaled = read_scaling(inner, context)
    inner.refuse_unhandled(())
    return scaled
