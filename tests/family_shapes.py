"""Tiny models of every family, in which each feature matters: windows shorter than the prompts, contexts that
are scaled well before the prompts end, capped scores, all layouts of heads.
"""

from typing import Any

Shape = dict[str, Any]


def shape(heads: int, kv_heads: int, head_dim: int | None = None, **rest: Any) -> Shape:
    """A tiny decoder; without `head_dim`, heads share the hidden size."""
    width = {"head_dim": head_dim} if head_dim else {}
    sizes = {"vocab_size": 301, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    return {**sizes, "num_attention_heads": heads, "num_key_value_heads": kv_heads, **width, **rest}


def moe(num_experts: int, num_experts_per_tok: int, **rest: Any) -> Shape:
    sizes = {"num_experts": num_experts, "num_experts_per_tok": num_experts_per_tok}
    return shape(4, 2, 16, moe_intermediate_size=40, **sizes, **rest)


def gemma(heads: int, kv_heads: int, head_dim: int, **rest: Any) -> Shape:
    """Its norms' weights start at zero, and its logits stay where their cap does not flatten them.

    No type of 16 bits holds the root of its width.
    """
    sizes = {"hidden_size": 72, "query_pre_attn_scalar": 20, "initializer_range": 0.2}
    return shape(heads, kv_heads, head_dim, **sizes) | rest


LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}

MODELS: dict[str, tuple[str, Shape]] = {
    "qwen2": ("Qwen2", shape(4, 2, tie_word_embeddings=False)),
    "qwen2_tied_yarn": ("Qwen2", shape(8, 1, tie_word_embeddings=True, rope_parameters=YARN)),
    "qwen2_upper_layers_slide": (
        "Qwen2",
        shape(4, 4, num_hidden_layers=3, use_sliding_window=True, sliding_window=19, max_window_layers=1),
    ),
    "llama": ("Llama", shape(4, 2, 32)),
    "llama_3": ("Llama", shape(6, 3, 24, hidden_size=72, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "llama_linear_biases": (
        "Llama",
        shape(
            4,
            None,
            attention_bias=True,
            mlp_bias=True,
            initializer_range=0.2,
            rope_parameters={"rope_type": "linear", "rope_theta": 500.0, "factor": 3.0},
        ),
    ),
    "mistral": ("Mistral", shape(4, 1, 128, sliding_window=64)),
    "mistral_short_window": ("Mistral", shape(4, 2, sliding_window=7, rope_theta=1e6)),
    "mistral_long_window": ("Mistral", shape(4, 2, sliding_window=270)),
    "mistral_no_window": ("Mistral", shape(4, 2, sliding_window=None)),
    "gemma2": ("Gemma2", gemma(4, 2, 24, sliding_window=32, num_hidden_layers=3)),
    "gemma2_low_caps": (
        "Gemma2",
        gemma(4, 1, 16, sliding_window=5, attn_logit_softcapping=5.0, final_logit_softcapping=50.0),
    ),
    "gemma2_no_caps": (
        "Gemma2",
        gemma(
            2,
            2,
            32,
            attn_logit_softcapping=None,
            final_logit_softcapping=None,
            attention_bias=True,
            layer_types=["full_attention", "sliding_attention"],
            sliding_window=270,
            tie_word_embeddings=False,
        ),
    ),
    "gemma3": (
        "Gemma3",
        gemma(4, 2, 24, sliding_window=32, num_hidden_layers=3, sliding_window_pattern=3),
    ),
    "gemma3_scaled": (
        "Gemma3",
        gemma(
            4,
            1,
            32,
            sliding_window=9,
            final_logit_softcapping=60.0,
            layer_types=["full_attention", "sliding_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
            },
        ),
    ),
    "phi3": ("Phi3", shape(4, 2, pad_token_id=0)),
    "phi3_window_partly_turned": (
        "Phi3",
        shape(
            4,
            None,
            hidden_size=96,
            pad_token_id=0,
            sliding_window=20,
            rope_parameters={"rope_theta": 900.0, "rope_type": "default", "partial_rotary_factor": 0.75},
            tie_word_embeddings=True,
        ),
    ),
    "phi3_longrope": (
        "Phi3",
        shape(
            2,
            1,
            pad_token_id=0,
            max_position_embeddings=8192,
            original_max_position_embeddings=512,
            rope_parameters={
                "rope_theta": 10_000.0,
                "rope_type": "longrope",
                "partial_rotary_factor": 0.5,
                "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.5, 3.0, 4.0],
                "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0],
            },
        ),
    ),
    "qwen3_moe": ("Qwen3Moe", moe(8, 2, norm_topk_prob=True)),
    "qwen3_moe_plain_shares": ("Qwen3Moe", moe(5, 3, norm_topk_prob=False, attention_bias=True)),
    "qwen3_moe_some_dense": (
        "Qwen3Moe",
        moe(4, 1, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1], tie_word_embeddings=True),
    ),
    "qwen3_moe_window": ("Qwen3Moe", moe(20, 20, use_sliding_window=True, sliding_window=33)),
}
