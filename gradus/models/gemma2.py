"""Gemma 2. Source: the Gemma 2 technical report, 2024, and the published configurations."""

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
from gradus.models.hf_rope import read_rope
from gradus.models.ops import Ops


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemma2Config(ModelConfig):
    """Caps are None where scores and logits are not capped."""

    embedding_scale: float
    attention_scale: float
    attention_soft_cap: float | None
    logit_soft_cap: float | None


def gemma2(ops: Ops, cfg: Gemma2Config) -> None:
    """Decoder with norms before and after attention and MLP, soft-capped scores and logits, and local layers.

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
            q, k = ops.rope(q, k, cfg.rope)
            h = ops.attention(
                q, k, v, i, cfg.attention_scale, window=cfg.window(i), soft_cap=cfg.attention_soft_cap
            )
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


def gemma2_config(fields: Fields, stored_dtype: str) -> Gemma2Config:
    check_model_type(fields, "gemma2")
    check_gelu(fields)
    head_dim = read_head_dim(fields, may_be_absent=False)
    window = read_window(fields, GEMMA_WINDOW)
    # Early files have this name, too; transformers does not read it.
    fields.only("sliding_window_size", [window], "It must be sliding_window.")
    shared = decoder_values(fields, stored_dtype, tied=True)
    return Gemma2Config(
        **shared,
        num_kv_heads=read_num_kv_heads(fields),
        head_dim=head_dim,
        rope=read_rope(fields, head_dim, default_theta=10_000.0),
        attention_bias=fields.flag("attention_bias", default=False),
        # Every other layer slides, the first one included.
        windows=layer_windows(fields, window, lambda layer: layer % 2 == 0),
        embedding_scale=embedding_scale(shared["hidden_size"]),
        attention_scale=read_attention_scale(fields),
        attention_soft_cap=read_cap(fields, "attn_logit_softcapping", default=50.0),
        logit_soft_cap=read_cap(fields, "final_logit_softcapping", default=30.0),
    )
