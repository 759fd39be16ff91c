"""Qwen2 and Qwen2.5 (dense). Source: the Qwen2 technical report, 2024, and the published configurations."""

from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import (
    check_model_type,
    decoder_values,
    read_head_dim,
    read_num_kv_heads,
    upper_layer_windows,
)
from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import read_rope
from gradus.models.ops import Ops


def qwen2(ops: Ops, cfg: ModelConfig) -> None:
    """Pre-norm decoder with grouped-query attention, biases on q, k and v, and a gated MLP."""
    x = ops.embed("model.embed_tokens")
    for i in range(cfg.num_layers):
        with ops.scope(f"model.layers.{i}"):
            h = ops.rms_norm(x, "input_layernorm", cfg.rms_norm_eps)
            q, k, v = ops.column_linear(
                h, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], bias=cfg.attention_bias
            )
            q, k = ops.rope(q, k, cfg.rope)
            h = ops.attention(q, k, v, layer=i, scale=cfg.head_dim**-0.5, window=cfg.window(i))
            x = ops.add(x, ops.row_linear(h, "self_attn.o_proj"))
            if i == cfg.num_layers - 1:
                x = ops.select_rows(x)
            h = ops.rms_norm(x, "post_attention_layernorm", cfg.rms_norm_eps)
            gate, up = ops.column_linear(h, ["mlp.gate_proj", "mlp.up_proj"])
            x = ops.add(x, ops.row_linear(ops.silu_mul(gate, up), "mlp.down_proj"))
    x = ops.rms_norm(x, "model.norm", cfg.rms_norm_eps)
    ops.output("hidden", x)
    ops.output("logits", ops.lm_head(x, "model.embed_tokens" if cfg.tie_word_embeddings else "lm_head"))


def qwen2_config(fields: Fields, stored_dtype: str) -> ModelConfig:
    check_model_type(fields, "qwen2")
    head_dim = read_head_dim(fields)
    return ModelConfig(
        **decoder_values(fields, stored_dtype),
        num_kv_heads=read_num_kv_heads(fields),
        head_dim=head_dim,
        rope=read_rope(fields, head_dim, default_theta=10_000.0),
        attention_bias=True,
        windows=upper_layer_windows(fields),
    )
