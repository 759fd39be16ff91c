"""`config.json` of a Hugging Face checkpoint -> `ModelConfig`.

Every field that changes the result is honoured or refused by name; so is every field that is not known. Reads
what transformers 4 writes (`rope_theta`, `rope_scaling`, `torch_dtype`) and what transformers 5 does
(`rope_parameters`, `dtype`). Source of the fields' meaning and defaults: the configuration classes of
transformers, and the configurations published with the models.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradus.models.config import ModelConfig
from gradus.models.hf_fields import Fields
from gradus.models.json_file import read_json_object
from gradus.models.registry import config_function

# Written by transformers and by training tools; none of it changes a forward pass at inference.
_WITHOUT_EFFECT_NAMES = (
    # Where the configuration came from, and how transformers runs the model.
    """
    _attn_implementation _attn_implementation_autoset _commit_hash _from_model_config _name_or_path
    _experts_implementation attn_implementation experts_implementation name_or_path model_name
    transformers_version transformers.js_config unsloth_fixed unsloth_version use_cache
    cache_implementation chunk_size_feed_forward keys_to_ignore_at_inference output_attentions
    output_hidden_states output_scores return_dict return_dict_in_generate tf_legacy_loss torchscript
    use_bfloat16
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
    config = config_function(architectures[0])(fields, stored_dtype)
    _refuse_variants(fields)
    fields.refuse_unhandled(WITHOUT_EFFECT)
    return config


_ONLY_DECODERS = "Only decoder-only language models are supported."
_NO_CAPS = "Use a checkpoint without capped or scaled logits."

# Fields that some model of the family uses to change the arithmetic: (name, what Gradus implements, advice).
# A family that implements more reads the field itself.
_VARIANTS: list[tuple[str, list[Any], str]] = [
    ("hidden_act", ["silu"], "Use a checkpoint whose MLP is gated by silu."),
    ("partial_rotary_factor", [1, 1.0], "Only models that rotate whole heads are supported."),
    ("attention_bias", [False], "Use a checkpoint without biases in attention."),
    ("mlp_bias", [False], "Use a checkpoint without biases in the MLP."),
    ("lm_head_bias", [False], "Use a checkpoint without a bias on its logits."),
    ("pretraining_tp", [1], "Only models that compute each matrix in one piece are supported."),
    ("pruned_heads", [{}], "Use a checkpoint with all of its heads."),
    ("sliding_window", [], "Every layer of this architecture attends to the whole context."),
    ("layer_types", [], "All layers of this architecture attend alike."),
    ("is_encoder_decoder", [False], _ONLY_DECODERS),
    ("is_decoder", [False], _ONLY_DECODERS),
    ("add_cross_attention", [False], _ONLY_DECODERS),
    ("tie_encoder_decoder", [False], _ONLY_DECODERS),
    ("use_bidirectional_attention", [False], _ONLY_DECODERS),
    ("attn_logit_softcapping", [], _NO_CAPS),
    ("final_logit_softcapping", [], _NO_CAPS),
    ("logits_soft_cap", [], _NO_CAPS),
    ("logit_scale", [], _NO_CAPS),
    (
        "quantization_config",
        [],
        "Use the unquantized checkpoint (float32, float16 or bfloat16) that this one was made from.",
    ),
]


def _refuse_variants(fields: Fields) -> None:
    for name, implemented, advice in _VARIANTS:
        if not fields.was_read(name):
            fields.only(name, implemented, advice)
