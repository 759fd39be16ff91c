"""Which tensors are stored in how many bits. docs/quantization.md has the table; this is its one function.

Knows names as Hugging Face spells them. Knows nothing of values.
"""

from typing import Literal

Width = Literal["int8", "int4", "int4_symmetric", "int4_g128"]


def weight_width(name: str, quantization: str) -> Width | None:
    """The width of the matrix `name` (without ".weight"), or None where it keeps its type.

    quantization: "none", "int8", "int4" or "int4-all". Norms and biases are vectors, and never asked for.
    """
    if quantization == "none":
        return None
    if name.endswith(".mlp.gate"):
        return None  # a router keeps its type: its near ties decide which experts run
    if quantization == "int8":
        return "int8"
    if quantization == "int4-all":
        return "int4_g128"
    # Every logit passes through the head, and a tied head is the embedding too.
    is_head = name.rpartition(".")[2] in ("embed_tokens", "lm_head")
    return "int8" if is_head else "int4"
