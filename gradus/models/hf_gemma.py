"""What the configurations of the Gemma models have in common."""

import math

import numpy as np

from gradus.models.hf_fields import Fields

GEMMA_WINDOW = 4096  # transformers' where `sliding_window` is absent
DEFAULT_QUERY_SCALAR = 256.0
MAX_CAP = 1e6

_GELU = ["gelu_pytorch_tanh"]
_ADVICE = "Use a checkpoint whose MLP is gated by gelu in its tanh form."


def check_gelu(fields: Fields) -> None:
    """`hidden_activation` counts; `hidden_act`, which older files have beside it, does not."""
    fields.only("hidden_activation", _GELU, _ADVICE)
    if fields.raw("hidden_activation") is None:
        fields.only("hidden_act", _GELU, _ADVICE)
    fields.raw("hidden_act")


def embedding_scale(hidden_size: int) -> float:
    """sqrt(hidden_size) in f32, in which everything is computed here.

    As in transformers with f32 weights and in llama.cpp; transformers with bf16 weights rounds it to bf16.
    """
    return float(np.float32(math.sqrt(hidden_size)))


def read_attention_scale(fields: Fields) -> float:
    """`query_pre_attn_scalar` ** -0.5."""
    if fields.raw("query_pre_attn_scalar") is None:
        return DEFAULT_QUERY_SCALAR**-0.5
    return fields.number("query_pre_attn_scalar", 0.0, 1e9) ** -0.5


def read_cap(fields: Fields, name: str, default: float | None) -> float | None:
    """A soft cap; null is none, absent is the family's default."""
    if not fields.has(name):
        return default
    return None if fields.raw(name) is None else fields.number(name, 0.0, MAX_CAP)
