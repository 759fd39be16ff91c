"""Qwen3 with a mixture of experts.

Source: the Qwen3 technical report, 2025, and the published configurations.
"""

from dataclasses import dataclass

from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import (
    MAX_WIDTH,
    check_model_type,
    decoder_values,
    read_head_dim,
    read_num_kv_heads,
    read_num_layers,
    read_window,
)
from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import read_rope
from gradus.models.ops import ExpertShape, Handle, Ops

MAX_EXPERTS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Qwen3MoeConfig(ModelConfig):
    """`intermediate_size` is that of the dense layers, which most models of the family do not have."""

    experts: ExpertShape
    dense_layers: frozenset[int] = frozenset()


def qwen3_moe(ops: Ops, cfg: Qwen3MoeConfig) -> None:
    """Qwen3's attention; in place of the gated MLP, experts that each token chooses."""
    x = ops.embed("model.embed_tokens")
    for i in range(cfg.num_layers):
        with ops.scope(f"model.layers.{i}"):
            h = ops.rms_norm(x, "input_layernorm", cfg.rms_norm_eps)
            q, k, v = ops.column_linear(
                h, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], bias=cfg.attention_bias
            )
            q = ops.rms_norm(q, "self_attn.q_norm", cfg.rms_norm_eps, head_dim=cfg.head_dim)
            k = ops.rms_norm(k, "self_attn.k_norm", cfg.rms_norm_eps, head_dim=cfg.head_dim)
            q, k = ops.rope(q, k, cfg.rope)
            h = ops.attention(q, k, v, layer=i, scale=cfg.head_dim**-0.5, window=cfg.window(i))
            x = ops.add(x, ops.row_linear(h, "self_attn.o_proj", bias=cfg.attention_bias))
            if i == cfg.num_layers - 1:
                x = ops.select_rows(x)
            h = ops.rms_norm(x, "post_attention_layernorm", cfg.rms_norm_eps)
            x = ops.add(x, _dense(ops, h) if i in cfg.dense_layers else ops.experts(h, "mlp", cfg.experts))
    x = ops.rms_norm(x, "model.norm", cfg.rms_norm_eps)
    ops.output("hidden", x)
    ops.output("logits", ops.lm_head(x, "model.embed_tokens" if cfg.tie_word_embeddings else "lm_head"))


def _dense(ops: Ops, h: Handle) -> Handle:
    gate, up = ops.column_linear(h, ["mlp.gate_proj", "mlp.up_proj"])
    return ops.row_linear(ops.silu_mul(gate, up), "mlp.down_proj")


def qwen3_moe_config(fields: Fields, stored_dtype: str) -> Qwen3MoeConfig:
    check_model_type(fields, "qwen3_moe")
    head_dim = read_head_dim(fields)
    return Qwen3MoeConfig(
        **decoder_values(fields, stored_dtype),
        num_kv_heads=read_num_kv_heads(fields),
        head_dim=head_dim,
        rope=read_rope(fields, head_dim, default_theta=10_000.0),
        attention_bias=fields.flag("attention_bias", default=False),
        windows=_windows(fields),
        experts=_experts(fields),
        dense_layers=_dense_layers(fields),
    )


def _experts(fields: Fields) -> ExpertShape:
    for name in ("router_aux_loss_coef", "output_router_logits"):
        fields.raw(name)  # of training
    # transformers 5 calls it num_local_experts too.
    name = "num_local_experts" if fields.raw("num_experts") is None else "num_experts"
    num_experts = fields.integer(name, 1, MAX_EXPERTS)
    fields.only("num_local_experts", [num_experts], "num_experts and num_local_experts must agree.")
    return ExpertShape(
        num_experts=num_experts,
        top_k=fields.integer("num_experts_per_tok", 1, num_experts),
        intermediate_size=fields.integer("moe_intermediate_size", 1, MAX_WIDTH),
        renormalize=fields.flag("norm_topk_prob", default=False),
    )


def _dense_layers(fields: Fields) -> frozenset[int]:
    """Those of `mlp_only_layers`, and all but every `decoder_sparse_step`-th."""
    num_layers = read_num_layers(fields)
    named = fields.raw("mlp_only_layers") or []
    if not isinstance(named, list) or not all(type(i) is int and 0 <= i < num_layers for i in named):
        raise fields.broken("mlp_only_layers", f"a list of layers below {num_layers}")
    step = fields.integer("decoder_sparse_step", 1, 1 << 20, default=1)
    return frozenset(named) | frozenset(i for i in range(num_layers) if (i + 1) % step)


def _windows(fields: Fields) -> tuple[int | None, ...]:
    """All layers slide or none."""
    fields.raw("max_window_layers")
    is_sliding = fields.flag("use_sliding_window", default=False)
    window = read_window(fields, default=4096)
    return (window,) * read_num_layers(fields) if is_sliding and window else ()
