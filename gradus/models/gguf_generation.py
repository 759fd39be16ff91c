"""GGUF's metadata -> `GenerationDefaults`: which tokens end a sequence, and the sampling it recommends.

A file names one end of a sequence, of a turn and of a message; others are known by their names alone, as in
llama.cpp. Source: its vocabulary code, and the keys `general.sampling.*`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradus.models.checkpoint.gguf.cursor import StringArray, Value
from gradus.models.generation_config import GenerationDefaults, parse_generation_defaults

_END_KEYS = ("eos", "eot", "eom")
_END_NAMES = (
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<EOT>",
)
_CONTROL = 3  # in tokenizer.ggml.token_type
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}


def gguf_generation_defaults(metadata: Mapping[str, Value], where: str) -> GenerationDefaults:
    """Raises:
    CheckpointError: a value is of the wrong type or out of range.
    """
    sampling = {name: metadata.get(f"general.sampling.{key}") for key, name in _SAMPLING.items()}
    ends = [metadata.get(f"tokenizer.ggml.{key}_token_id") for key in _END_KEYS]
    values: dict[str, Any] = {
        **{name: value for name, value in sampling.items() if value is not None},
        "eos_token_id": [end for end in ends if end is not None] + _named_ends(metadata),
    }
    return parse_generation_defaults(values, {}, where)


def _named_ends(metadata: Mapping[str, Value]) -> list[int]:
    """Control tokens with one of the known names; the others' names are not even decoded."""
    tokens, kinds = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, StringArray) or not isinstance(kinds, np.ndarray):
        return []
    control = np.flatnonzero(kinds[: len(tokens)] == _CONTROL)
    return [int(i) for i in control if tokens.raw(int(i)).decode(errors="replace") in _END_NAMES]
