"""Llama 2, 3, 3.1 and 3.2, and what shares their architecture, such as SmolLM.

Source: Touvron et al. 2023; the Llama 3 paper, 2024; and the published configurations.
"""

from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import check_model_type, decoder_values, read_head_dim, read_num_kv_heads
from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import read_rope
from gradus.models.ops import Ops


def llama(ops: Ops, cfg: ModelConfig) -> None:
    """Pre-norm decoder with grouped-query attention and a gated MLP; biases everywhere or nowhere in each."""
    x = ops.embed("model.embed_tokens")
    for i in range(cfg.num_layers):
        with ops.scope(f"model.layers.{i}"):
            h = ops.rms_norm(x, "input_layernorm", cfg.rms_norm_eps)
            q, k, v = ops.column_linear(
                h, ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"], bias=cfg.attention_bias
            )
            q, k = ops.rope(q, k, cfg.rope)
            h = ops.attention(q, k, v, layer=i, scale=cfg.head_dim**-0.5, window=cfg.window(i))
            x = ops.add(x, ops.row_linear(h, "self_attn.o_proj", bias=cfg.attention_bias))
            if i == cfg.num_layers - 1:
                x = ops.select_rows(x)
            h = ops.rms_norm(x, "post_attention_layernorm", cfg.rms_norm_eps)
            gate, up = ops.column_linear(h, ["mlp.gate_proj", "mlp.up_proj"], bias=cfg.mlp_bias)
            h = ops.row_linear(ops.silu_mul(gate, up), "mlp.down_proj", bias=cfg.mlp_bias)
            x = ops.add(x, h)
    x = ops.rms_norm(x, "model.norm", cfg.rms_norm_eps)
    ops.output("hidden", x)
    ops.output("logits", ops.lm_head(x, "model.embed_tokens" if cfg.tie_word_embeddings else "lm_head"))


def llama_config(fields: Fields, stored_dtype: str) -> ModelConfig:
    check_model_type(fields, "llama")
    # Left by SmolLM's trainer.
    fields.only("is_llama_config", [True], "The architecture and the configuration must agree.")
    fields.only("rope_interleaved", [False], "Only rotary embeddings in halves are supported.")
    head_dim = read_head_dim(fields)
    return ModelConfig(
        **decoder_values(fields, stored_dtype),
        num_kv_heads=read_num_kv_heads(fields, may_be_absent=True),
        head_dim=head_dim,
        rope=read_rope(fields, head_dim, default_theta=10_000.0),
        attention_bias=fields.flag("attention_bias", default=False),
        mlp_bias=fields.flag("mlp_bias", default=False),
    )
