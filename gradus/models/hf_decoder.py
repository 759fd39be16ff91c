"""What the configurations of all decoders have in common: sizes, types, windows.

Each reader counts its fields as read. A family's `..._config` function reads the rest; whatever nobody read
is refused by `gradus.models.hf_config`.
"""

from collections.abc import Callable
from typing import Any

from gradus.models.hf_fields import Fields
from gradus.models.hf_rope import MAX_POSITIONS

DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

# Far above every published model; what lies beyond is a broken file, not a model.
MAX_WIDTH = 1 << 20
MAX_VOCAB_SIZE = 1 << 24
MAX_LAYERS = 1024
MAX_HEADS = 4096
MAX_HEAD_DIM = 1024

Windows = tuple[int | None, ...]


def check_model_type(fields: Fields, name: str) -> None:
    fields.only("model_type", [name], "The architecture and the model type must agree.")


def decoder_values(fields: Fields, stored_dtype: str, *, tied: bool = False) -> dict[str, Any]:
    """Arguments of `ModelConfig` that every family reads alike; `tied`: its default for tied embeddings."""
    return {
        "architecture": fields.raw("architectures")[0],
        "vocab_size": fields.integer("vocab_size", 1, MAX_VOCAB_SIZE),
        "hidden_size": fields.integer("hidden_size", 1, MAX_WIDTH),
        "intermediate_size": fields.integer("intermediate_size", 1, MAX_WIDTH),
        "num_layers": read_num_layers(fields),
        "num_heads": _num_heads(fields),
        "rms_norm_eps": fields.number("rms_norm_eps", 0.0, 1.0),
        "max_position_embeddings": fields.integer("max_position_embeddings", 1, MAX_POSITIONS),
        "tie_word_embeddings": fields.flag("tie_word_embeddings", default=tied),
        "dtype": read_dtype(fields, stored_dtype),
    }


def read_num_layers(fields: Fields) -> int:
    return fields.integer("num_hidden_layers", 1, MAX_LAYERS)


def read_num_kv_heads(fields: Fields, *, may_be_absent: bool = False) -> int:
    """Null stands for as many as there are query heads; absent does too only where transformers says so."""
    num_heads = _num_heads(fields)
    if not may_be_absent and not fields.has("num_key_value_heads"):
        raise fields.broken("num_key_value_heads", "a divisor of num_attention_heads, or null for as many")
    num_kv_heads = fields.integer("num_key_value_heads", 1, MAX_HEADS, default=num_heads)
    if num_heads % num_kv_heads:
        raise fields.broken("num_key_value_heads", f"a divisor of num_attention_heads, which is {num_heads}")
    return num_kv_heads


def read_head_dim(fields: Fields, *, may_be_absent: bool = True) -> int:
    """Absent, the heads share the hidden size, where a family has that default."""
    if may_be_absent and fields.raw("head_dim") is None:
        hidden_size, num_heads = fields.integer("hidden_size", 1, MAX_WIDTH), _num_heads(fields)
        if hidden_size % (2 * num_heads) or hidden_size > num_heads * MAX_HEAD_DIM:
            raise fields.broken(
                "hidden_size",
                f"an even multiple of num_attention_heads, which is {num_heads}, without head_dim",
            )
        return hidden_size // num_heads
    head_dim = fields.integer("head_dim", 2, MAX_HEAD_DIM)
    if head_dim % 2:
        raise fields.broken("head_dim", "even, since rotary embeddings turn pairs of elements")
    return head_dim


def read_window(fields: Fields, default: int | None = None) -> int | None:
    """`sliding_window` in tokens; `default` holds where it is absent, null is none."""
    if not fields.has("sliding_window"):
        return default
    if fields.raw("sliding_window") is None:
        return None
    return fields.integer("sliding_window", 1, MAX_POSITIONS)


def layer_windows(fields: Fields, window: int | None, is_sliding: Callable[[int], bool]) -> Windows:
    """Per layer, from `layer_types` or, where that is absent, from `is_sliding`; empty where none slides."""
    num_layers = read_num_layers(fields)
    kinds = fields.raw("layer_types")
    if kinds is None:
        slides = [window is not None and is_sliding(layer) for layer in range(num_layers)]
    else:
        if not isinstance(kinds, list) or len(kinds) != num_layers:
            raise fields.broken("layer_types", f"a list of {num_layers} names, one per layer")
        good = ["full_attention"] if window is None else ["full_attention", "sliding_attention"]
        for kind in kinds:
            if kind not in good:
                raise fields.unsupported("layer_types", kind, good, "Sliding layers need a sliding_window.")
        slides = [kind == "sliding_attention" for kind in kinds]
    return tuple(window if slide else None for slide in slides) if any(slides) else ()


def upper_layer_windows(fields: Fields) -> Windows:
    """Qwen's convention: with `use_sliding_window`, layers from `max_window_layers` on slide."""
    window = read_window(fields) if fields.flag("use_sliding_window", default=False) else None
    first = fields.integer("max_window_layers", 0, MAX_LAYERS, default=28) if window is not None else 0
    fields.raw("sliding_window"), fields.raw("max_window_layers")  # without effect where nothing slides
    return layer_windows(fields, window, lambda layer: layer >= first)


def read_dtype(fields: Fields, stored_dtype: str) -> str:
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


def _num_heads(fields: Fields) -> int:
    return fields.integer("num_attention_heads", 1, MAX_HEADS)
