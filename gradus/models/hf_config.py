"""`config.json` of a Hugging Face checkpoint -> `ModelConfig`.

Every field that changes the result is honoured or refused by name; so is every field that is not known. Reads
what transformers 4 writes (`rope_theta`, `rope_scaling`, `torch_dtype`) and what transformers 5 does
(`rope_parameters`, `dtype`). Source of the fields' meaning and defaults: the configuration classes of
transformers, and the configurations published with the models.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gradus.errors import UnsupportedModelError
from gradus.models.config import ModelConfig
from gradus.models.hf_fields import Fields, is_close
from gradus.models.json_file import read_json_object
from gradus.models.ops import Rope
from gradus.models.registry import supported_architectures

DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

# Far above every published model; what lies beyond is a broken file, not a model.
MAX_WIDTH = 1 << 20
MAX_VOCAB_SIZE = 1 << 24
MAX_LAYERS = 1024
MAX_HEADS = 4096
MAX_HEAD_DIM = 1024
MAX_POSITIONS = 1 << 28

# Written by transformers and by training tools; none of it changes a forward pass at inference.
_WITHOUT_EFFECT_NAMES = (
    # Where the configuration came from, and how transformers runs the model.
    """
    _attn_implementation _attn_implementation_autoset _commit_hash _from_model_config _name_or_path
    _experts_implementation attn_implementation experts_implementation name_or_path model_name
    transformers_version transformers.js_config unsloth_fixed unsloth_version use_cache
    chunk_size_feed_forward keys_to_ignore_at_inference output_attentions output_hidden_states
    output_scores return_dict return_dict_in_generate tf_legacy_loss torchscript use_bfloat16
    """
    # Training, and classification heads that a causal language model does not have.
    """
    attention_dropout attn_pdrop embd_pdrop resid_pdrop hidden_dropout hidden_dropout_prob initializer_range
    finetuning_task id2label label2id num_labels problem_type task_specific_params
    """
    # Token ids and the tokenizer, which have files of their own (eos_token_id is read with those).
    """
    bos_token_id decoder_start_token_id eos_token_id pad_token_id prefix sep_token_id tokenizer_class
    unk_token_id vocab_file
    """
    # Defaults of transformers' generate(): with Gradus a request brings its own.
    """
    diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size length_penalty max_length
    max_new_tokens min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences
    repetition_penalty temperature top_k top_p typical_p
    """
)
WITHOUT_EFFECT = frozenset(_WITHOUT_EFFECT_NAMES.split())


def load_model_config(path: Path, stored_dtype: str = "f32") -> ModelConfig:
    """Read `path`, a `config.json`.

    Raises:
        CheckpointError, UnsupportedModelError: as `parse_model_config`.
    """
    return parse_model_config(read_json_object(path), str(path), stored_dtype)


def parse_model_config(
    raw: Mapping[str, Any], where: str = "config.json", stored_dtype: str = "f32"
) -> ModelConfig:
    """A configuration in Gradus's terms; `stored_dtype` holds where the configuration names no type.

    Raises:
        CheckpointError: a field is missing, of the wrong type, or out of range; the message has the numbers.
        UnsupportedModelError: the architecture or a field's value is not implemented.
    """
    fields = Fields(raw, where)
    architectures = fields.raw("architectures")
    if not (isinstance(architectures, list) and architectures and isinstance(architectures[0], str)):
        raise fields.broken("architectures", "a list with the name of the model's class")
    architecture = architectures[0]
    if architecture not in _PARSERS:
        raise UnsupportedModelError(
            f"{where}: architecture {architecture!r} is not supported; "
            f"Gradus has {', '.join(supported_architectures())}"
        )
    config = _PARSERS[architecture](fields, architecture, stored_dtype)
    fields.refuse_unhandled(WITHOUT_EFFECT)
    return config


def _qwen3(fields: Fields, architecture: str, stored_dtype: str) -> ModelConfig:
    fields.only("model_type", ["qwen3"], "The architecture and the model type must agree.")
    _refuse_sliding_window(fields)
    return _decoder(
        fields,
        architecture,
        stored_dtype,
        attention_bias=fields.flag("attention_bias", default=False),
        tie_word_embeddings=fields.flag("tie_word_embeddings", default=False),
    )


_PARSERS: dict[str, Callable[[Fields, str, str], ModelConfig]] = {"Qwen3ForCausalLM": _qwen3}


def _decoder(fields: Fields, architecture: str, stored_dtype: str, **rest: bool) -> ModelConfig:
    """What all decoders of the Llama family share."""
    fields.only("hidden_act", ["silu"], "Use a checkpoint whose MLP is gated by silu.")
    _refuse_variants(fields)
    num_layers = fields.integer("num_hidden_layers", 1, MAX_LAYERS)
    _check_layer_types(fields, num_layers)
    num_heads = fields.integer("num_attention_heads", 1, MAX_HEADS)
    num_kv_heads = _num_kv_heads(fields, num_heads)
    head_dim = fields.integer("head_dim", 2, MAX_HEAD_DIM)
    if head_dim % 2:
        raise fields.broken("head_dim", "even, since rotary embeddings turn pairs of elements")
    return ModelConfig(
        architecture=architecture,
        vocab_size=fields.integer("vocab_size", 1, MAX_VOCAB_SIZE),
        hidden_size=fields.integer("hidden_size", 1, MAX_WIDTH),
        intermediate_size=fields.integer("intermediate_size", 1, MAX_WIDTH),
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        rms_norm_eps=fields.number("rms_norm_eps", 0.0, 1.0),
        rope=Rope(head_dim=head_dim, theta=_rope_theta(fields)),
        max_position_embeddings=fields.integer("max_position_embeddings", 1, MAX_POSITIONS),
        dtype=_dtype(fields, stored_dtype),
        **rest,
    )


def _num_kv_heads(fields: Fields, num_heads: int) -> int:
    """Null stands for as many as there are query heads; in transformers absent does not."""
    if not fields.has("num_key_value_heads"):
        raise fields.broken("num_key_value_heads", "a divisor of num_attention_heads, or null for as many")
    num_kv_heads = fields.integer("num_key_value_heads", 1, MAX_HEADS, default=num_heads)
    if num_heads % num_kv_heads:
        raise fields.broken("num_key_value_heads", f"a divisor of num_attention_heads, which is {num_heads}")
    return num_kv_heads


def _refuse_variants(fields: Fields) -> None:
    """Fields that other models of the family use to change the arithmetic."""
    fields.only("partial_rotary_factor", [1, 1.0], "Only models that rotate whole heads are supported.")
    fields.only("mlp_bias", [False], "Use a checkpoint without biases in the MLP.")
    fields.only("pretraining_tp", [1], "Only models that compute each matrix in one piece are supported.")
    fields.only("pruned_heads", [{}], "Use a checkpoint with all of its heads.")
    for name in ("is_encoder_decoder", "is_decoder", "add_cross_attention", "tie_encoder_decoder"):
        fields.only(name, [False], "Only decoder-only language models are supported.")
    for name in ("attn_logit_softcapping", "final_logit_softcapping", "logits_soft_cap", "logit_scale"):
        fields.only(name, [], "Use a checkpoint without capped or scaled logits.")
    fields.only(
        "quantization_config",
        [],
        "Use the unquantized checkpoint (float32, float16 or bfloat16) that this one was made from.",
    )


def _refuse_sliding_window(fields: Fields) -> None:
    """`sliding_window` and `max_window_layers` act only where `use_sliding_window` is true."""
    fields.only("use_sliding_window", [False], "Every layer attends to the whole context in Gradus.")
    fields.raw("sliding_window")
    fields.raw("max_window_layers")


def _check_layer_types(fields: Fields, num_layers: int) -> None:
    kinds = fields.raw("layer_types")
    if kinds is None:
        return
    if not isinstance(kinds, list) or len(kinds) != num_layers:
        raise fields.broken("layer_types", f"a list of {num_layers} names, one per layer")
    for kind in kinds:
        if kind != "full_attention":
            raise fields.unsupported(
                "layer_types", kind, ["full_attention"], "Every layer attends to the whole context in Gradus."
            )


def _rope_theta(fields: Fields) -> float:
    """From `rope_parameters` (transformers 5), or `rope_theta` beside `rope_scaling` (transformers 4)."""
    thetas = []
    if fields.raw("rope_theta") is not None:
        thetas.append(fields.number("rope_theta", 0.0, 1e15))
    for name in ("rope_parameters", "rope_scaling"):
        inner = fields.inner(name)
        if inner is None:
            continue
        for kind in ("rope_type", "type"):
            inner.only(kind, ["default"], "Use a checkpoint without rotary embedding scaling.")
        inner.only("partial_rotary_factor", [1, 1.0], "Only models that rotate whole heads are supported.")
        if inner.raw("rope_theta") is not None:
            thetas.append(inner.number("rope_theta", 0.0, 1e15))
        inner.refuse_unhandled(())
    if not thetas:
        raise fields.broken("rope_theta", "given here or in rope_parameters, as a positive number")
    if not all(is_close(theta, thetas[0]) for theta in thetas):
        raise fields.broken("rope_theta", f"the same wherever it is given, not {thetas}")
    return thetas[0]


def _dtype(fields: Fields, stored_dtype: str) -> str:
    """`dtype` goes before the older `torch_dtype`, as in transformers."""
    for name in ("dtype", "torch_dtype"):
        value = fields.raw(name)
        if value is None:
            continue
        if not isinstance(value, str) or value not in DTYPES:
            raise fields.unsupported(
                name, value, list(DTYPES), "Convert the checkpoint to one of these and set the field to it."
            )
        fields.raw("torch_dtype")
        return DTYPES[value]
    return stored_dtype
