"""GGUF's metadata -> `ModelConfig` and `GenerationDefaults`, the same that a model's Hugging Face files give.

Every key of the architecture is honoured, known to be without effect, or refused by name. Source of the keys:
the GGUF specification, and what llama.cpp reads of them.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradus.errors import CheckpointError, UnsupportedModelError
from gradus.models.checkpoint.gguf.cursor import StringArray, Value
from gradus.models.checkpoint.gguf.names import ARCHITECTURES
from gradus.models.config import ModelConfig
from gradus.models.hf_decoder import MAX_HEAD_DIM, MAX_HEADS, MAX_LAYERS, MAX_WIDTH
from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import MAX_FACTOR, MAX_POSITIONS, MAX_THETA, MIN_THETA
from gradus.models.rope import LinearScaling, PairwiseScaling, Rope, RopeScaling, YarnScaling

# Of any architecture: the file's own bookkeeping, and what Gradus has from the tensors' shapes.
_WITHOUT_EFFECT = ("vocab_size", "rope.scaling.finetuned", "tensor_data_layout", "pooling_type")

Shapes = Mapping[str, tuple[int, ...]]
"""Of the tensors, by Hugging Face's names."""


def gguf_architecture(metadata: Mapping[str, Value], where: str) -> str:
    """GGUF's own name of the architecture.

    Raises:
        UnsupportedModelError: names it and those that are supported.
    """
    name = metadata.get("general.architecture")
    if name not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"{where}: general.architecture is {name!r:.80}; of GGUF files Gradus runs "
            f"{', '.join(ARCHITECTURES)} (mistral's are called llama)"
        )
    return str(name)


def interleaved_head_dim(metadata: Mapping[str, Value], where: str) -> int | None:
    """The size of the heads whose pairs that turn together are neighbours, in `llama` files; else None.

    Raises:
        CheckpointError, UnsupportedModelError: as `gguf_model_config`.
    """
    name = gguf_architecture(metadata, where)
    if name != "llama":
        return None
    fields = _own_fields(metadata, name, where)
    return _head_dim(fields, _per_layer(fields, "attention.head_count", MAX_HEADS))


def gguf_model_config(
    metadata: Mapping[str, Value],
    shapes: Shapes,
    dtype: str,
    rope_factors: NDArray[np.float32] | None,
    where: str,
) -> ModelConfig:
    """The model's shape; `dtype`, and what else metadata does not tell, comes from the tensors.

    Raises:
        CheckpointError: a key is missing, of the wrong type, or out of range; the message has the numbers.
        UnsupportedModelError: the architecture or a value is not implemented.
    """
    name = gguf_architecture(metadata, where)
    fields = _own_fields(metadata, name, where)
    num_heads = _per_layer(fields, "attention.head_count", MAX_HEADS)
    head_dim = _head_dim(fields, num_heads)
    config = ModelConfig(
        architecture=ARCHITECTURES[name],
        vocab_size=_vocab_size(metadata, shapes, where),
        hidden_size=fields.integer("embedding_length", 1, MAX_WIDTH),
        intermediate_size=_per_layer(fields, "feed_forward_length", MAX_WIDTH),
        num_layers=fields.integer("block_count", 1, MAX_LAYERS),
        num_heads=num_heads,
        num_kv_heads=_num_kv_heads(fields, num_heads),
        head_dim=head_dim,
        rms_norm_eps=fields.number("attention.layer_norm_rms_epsilon", 0.0, 1.0),
        rope=_rope(fields, head_dim, rope_factors),
        max_position_embeddings=fields.integer("context_length", 1, MAX_POSITIONS),
        tie_word_embeddings="lm_head.weight" not in shapes,
        attention_bias=name == "qwen2" or "model.layers.0.self_attn.q_proj.bias" in shapes,
        mlp_bias="model.layers.0.mlp.gate_proj.bias" in shapes,
        dtype=dtype,
        windows=_windows(fields, name),
    )
    for key, implemented in _VARIANTS.items():
        fields.only(key, implemented, "Use a file without it.")
    fields.refuse_unhandled(_WITHOUT_EFFECT)
    return config


_VARIANTS: dict[str, Collection[Any]] = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "use_parallel_residual": (False,),
}


def _own_fields(metadata: Mapping[str, Value], name: str, where: str) -> Fields:
    """The architecture's keys, without its name before them."""
    prefix = f"{name}."
    own = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    return Fields(own, f"{where}: {name}")


def _per_layer(fields: Fields, key: str, most: int) -> int:
    """A number, or an array of one for each layer, all equal."""
    value = fields.raw(key)
    if isinstance(value, np.ndarray) and value.size and value.dtype.kind in "iu":
        if (value != value[0]).any():
            raise fields.unsupported(key, value, ["one number"], "Layers of different shapes do not run.")
        return Fields({key: int(value[0])}, fields.where).integer(key, 1, most)
    return fields.integer(key, 1, most)


def _num_kv_heads(fields: Fields, num_heads: int) -> int:
    key = "attention.head_count_kv"
    num_kv_heads = _per_layer(fields, key, MAX_HEADS) if fields.has(key) else num_heads
    if num_heads % num_kv_heads:
        raise fields.broken(key, f"a divisor of attention.head_count, which is {num_heads}")
    return num_kv_heads


def _head_dim(fields: Fields, num_heads: int) -> int:
    hidden_size = fields.integer("embedding_length", 1, MAX_WIDTH)
    head_dim = fields.integer("attention.key_length", 2, MAX_HEAD_DIM, default=hidden_size // num_heads)
    if head_dim % 2 or not 2 <= head_dim <= MAX_HEAD_DIM:
        raise fields.broken("attention.key_length", f"even and from 2 to {MAX_HEAD_DIM}; it is {head_dim}")
    for key in ("attention.value_length", "rope.dimension_count"):
        fields.only(key, [head_dim], "It must be the size of a head.")
    return head_dim


def _windows(fields: Fields, name: str) -> tuple[int | None, ...]:
    """Only in `llama` files, for Mistral: in every layer."""
    key = "attention.sliding_window"
    if name != "llama":
        fields.only(key, [0], "Every layer of this architecture attends to the whole context.")
        return ()
    window = fields.integer(key, 0, MAX_POSITIONS, default=0)
    return (window,) * fields.integer("block_count", 1, MAX_LAYERS) if window else ()


def _rope(fields: Fields, head_dim: int, factors: NDArray[np.float32] | None) -> Rope:
    theta = 10_000.0
    if fields.has("rope.freq_base"):
        theta = fields.number("rope.freq_base", MIN_THETA, MAX_THETA)
    scaling, magnitude = _scaling(fields)
    if factors is not None:
        if scaling is not None:
            raise fields.unsupported(
                "rope.scaling.type",
                fields.raw("rope.scaling.type"),
                ["none"],
                "The file has factors of its own in the tensor rope_freqs.weight.",
            )
        scaling = _pairwise(factors, head_dim, fields.where)
    return Rope(head_dim=head_dim, theta=theta, scaling=scaling, magnitude=magnitude)


def _pairwise(factors: NDArray[np.float32], head_dim: int, where: str) -> RopeScaling | None:
    if factors.shape != (head_dim // 2,) or not ((factors > 0) & (factors <= MAX_FACTOR)).all():
        raise CheckpointError(
            f"{where}: tensor rope_freqs.weight has shape {list(factors.shape)} and values from "
            f"{factors.min():g} to {factors.max():g}; it must have {head_dim // 2}, from 0 to {MAX_FACTOR:g}"
        )
    return PairwiseScaling(tuple(map(float, factors))) if (factors != 1).any() else None


def _scaling(fields: Fields) -> tuple[RopeScaling | None, float]:
    """`rope.scaling.*`, and the older `rope.scale_linear`."""
    key = "rope.scaling.type"
    kind = fields.raw(key)
    linear = fields.raw("rope.scale_linear")
    if kind is None and linear is not None:
        return _linear(fields.number("rope.scale_linear", 0.0, MAX_FACTOR)), 1.0
    if kind in (None, "none"):
        for name in _SCALING_KEYS:
            fields.only(name, [0.0, 1.0, 0, 1], f"Without {key} it would have no effect.")
        return None, 1.0
    if kind == "linear":
        return _linear(fields.number("rope.scaling.factor", 0.0, MAX_FACTOR)), 1.0
    if kind != "yarn":
        raise fields.unsupported(key, kind, ["none", "linear", "yarn"], "Use a file with one of these.")
    return _yarn(fields)


_SCALING_KEYS = ("rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.yarn_attn_factor")


def _linear(factor: float) -> RopeScaling | None:
    return LinearScaling(factor) if factor != 1 else None


def _yarn(fields: Fields) -> tuple[RopeScaling, float]:
    factor = fields.number("rope.scaling.factor", 0.0, MAX_FACTOR)
    context = fields.integer("context_length", 1, MAX_POSITIONS)
    original = fields.integer("rope.scaling.original_context_length", 1, MAX_POSITIONS, default=context)
    for name, neutral in (
        ("rope.scaling.attn_factor", 1.0),
        ("rope.scaling.yarn_attn_factor", 1.0),
        ("rope.scaling.yarn_ext_factor", 1.0),
        ("rope.scaling.yarn_log_multiplier", 0.0),
    ):
        fields.only(name, [neutral], "YaRN is implemented with its own factors.")
    scaling = YarnScaling(
        factor=factor,
        original_max_position_embeddings=original,
        beta_fast=_number_or(fields, "rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=_number_or(fields, "rope.scaling.yarn_beta_slow", 1.0),
        truncate=True,
    )
    return scaling, YarnScaling.magnitude(factor)


def _number_or(fields: Fields, key: str, default: float) -> float:
    return fields.number(key, 0.0, MAX_FACTOR) if fields.has(key) else default


def _vocab_size(metadata: Mapping[str, Value], shapes: Shapes, where: str) -> int:
    """The embedding's rows, of which each is to have a token."""
    shape = shapes.get("model.embed_tokens.weight", ())
    if len(shape) != 2:
        raise CheckpointError(f"{where} has no matrix named token_embd.weight")
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, StringArray) and len(tokens) > shape[0]:
        raise CheckpointError(
            f"{where} has {len(tokens):,} tokens, but token_embd.weight has {shape[0]:,} rows"
        )
    return shape[0]
