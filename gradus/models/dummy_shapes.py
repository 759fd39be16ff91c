"""Published shapes for `dummy:NAME`: speed and memory work without a download.

Source: the published configurations.
"""

from typing import Any

from gradus.models.config import ModelConfig
from gradus.models.ops import ExpertShape
from gradus.models.qwen3_moe import Qwen3MoeConfig
from gradus.models.rope import Llama3Scaling, Rope


def _qwen(hidden: int, intermediate: int, layers: int, heads: int, **rest: Any) -> dict[str, Any]:
    """What the Qwen models have in common."""
    shared = {
        "vocab_size": 151936,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_layers": layers,
        "num_heads": heads,
        "num_kv_heads": 8,
        "head_dim": 128,
        "rms_norm_eps": 1e-6,
        "rope": Rope(head_dim=128, theta=1e6),
        "max_position_embeddings": 40960,
        "attention_bias": False,
        "dtype": "bf16",
    }
    return shared | rest


def _qwen3(hidden: int, intermediate: int, layers: int, heads: int, tied: bool) -> ModelConfig:
    return ModelConfig(
        architecture="Qwen3ForCausalLM",
        **_qwen(hidden, intermediate, layers, heads, tie_word_embeddings=tied),
    )


_QWEN2_5_HALF_B = ModelConfig(
    architecture="Qwen2ForCausalLM",
    **_qwen(
        896,
        4864,
        24,
        14,
        num_kv_heads=2,
        head_dim=64,
        rope=Rope(head_dim=64, theta=1e6),
        max_position_embeddings=32768,
        attention_bias=True,
        tie_word_embeddings=True,
    ),
)
_QWEN3_30B_A3B = Qwen3MoeConfig(
    architecture="Qwen3MoeForCausalLM",
    **_qwen(2048, 6144, 48, 32, num_kv_heads=4, tie_word_embeddings=False),
    experts=ExpertShape(num_experts=128, top_k=8, intermediate_size=768, renormalize=True),
)
_LLAMA_3_2_1B = ModelConfig(
    architecture="LlamaForCausalLM",
    vocab_size=128256,
    hidden_size=2048,
    intermediate_size=8192,
    num_layers=16,
    num_heads=32,
    num_kv_heads=8,
    head_dim=64,
    rms_norm_eps=1e-5,
    rope=Rope(head_dim=64, theta=500_000.0, scaling=Llama3Scaling(32.0, 1.0, 4.0, 8192)),
    max_position_embeddings=131072,
    tie_word_embeddings=True,
    attention_bias=False,
    dtype="bf16",
)

DUMMY_SHAPES: dict[str, ModelConfig] = {
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, tied=True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, tied=True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, tied=True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, tied=False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, tied=False),
    "qwen3-32b": _qwen3(5120, 25600, 64, 64, tied=False),
    "qwen3-30b-a3b": _QWEN3_30B_A3B,
    "qwen2.5-0.5b": _QWEN2_5_HALF_B,
    "llama-3.2-1b": _LLAMA_3_2_1B,
}
