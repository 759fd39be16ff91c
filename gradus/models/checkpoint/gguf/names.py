"""What GGUF calls architectures and tensors, and in which order it has the rows of rotated heads.

Source: the tables of llama.cpp's `gguf` package.
"""

import numpy as np
from numpy.typing import NDArray

ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}
"""GGUF's name -> Hugging Face's."""

ROPE_FACTORS = "rope_freqs.weight"

_MODEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_MODEL_OF_HF = {hf: gguf for gguf, hf in _MODEL.items()}
_LAYER_OF_HF = {hf: gguf for gguf, hf in _LAYER.items()}


def hf_name(name: str) -> str | None:
    """Hugging Face's name of a tensor, `weight` or `bias` at its end; None where it has none."""
    stem, _, kind = name.rpartition(".")
    if stem in _MODEL:
        return f"{_MODEL[stem]}.{kind}"
    block, _, rest = stem.partition(".")
    index, _, part = rest.partition(".")
    if block == "blk" and index.isascii() and index.isdigit() and part in _LAYER:
        return f"model.layers.{int(index)}.{_LAYER[part]}.{kind}" if str(int(index)) == index else None
    return None


def gguf_name(name: str) -> str | None:
    """The inverse of `hf_name`."""
    stem, _, kind = name.rpartition(".")
    if stem in _MODEL_OF_HF:
        return f"{_MODEL_OF_HF[stem]}.{kind}"
    if not stem.startswith("model.layers."):
        return None
    index, _, part = stem.removeprefix("model.layers.").partition(".")
    return f"blk.{index}.{_LAYER_OF_HF[part]}.{kind}" if part in _LAYER_OF_HF else None


def is_rotated(name: str) -> bool:
    """Whether a tensor, by Hugging Face's name, makes queries or keys: `llama` files reorder its rows."""
    return name.rpartition(".")[0].endswith((".q_proj", ".k_proj"))


def interleaved_rows(num_rows: int, head_dim: int) -> NDArray[np.int64]:
    """Which of Hugging Face's rows stands where in a `llama` file.

    There element 2j of a head turns with 2j + 1; in Hugging Face's order j turns with j + head_dim / 2.
    """
    rows = np.arange(num_rows).reshape(-1, 2, head_dim // 2)
    return rows.swapaxes(1, 2).reshape(-1)


def half_split_rows(num_rows: int, head_dim: int) -> NDArray[np.int64]:
    """Which of a `llama` file's rows stands where in Hugging Face's order: the inverse permutation."""
    rows = np.arange(num_rows).reshape(-1, head_dim // 2, 2)
    return rows.swapaxes(1, 2).reshape(-1)
