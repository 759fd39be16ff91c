"""Mistral. Source: Jiang et al. 2023, and the published configurations."""

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
from gradus.models.hf_rope import read_rope
from gradus.models.llama import llama
from gradus.models.ops import Ops

DEFAULT_WINDOW = 4096  # that of the first release, and transformers' where the field is absent


def mistral(ops: Ops, cfg: ModelConfig) -> None:
    """Llama with a sliding window in every layer."""
    llama(ops, cfg)


def mistral_config(fields: Fields, stored_dtype: str) -> ModelConfig:
    check_model_type(fields, "mistral")
    head_dim = read_head_dim(fields)
    window = read_window(fields, default=DEFAULT_WINDOW)
    return ModelConfig(
        **decoder_values(fields, stored_dtype),
        num_kv_heads=read_num_kv_heads(fields),
        head_dim=head_dim,
        rope=read_rope(fields, head_dim, default_theta=10_000.0),
        attention_bias=False,
        windows=(window,) * read_num_layers(fields) if window else (),
    )
