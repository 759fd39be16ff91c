"""`Ops`: the vocabulary in which every model is written, and that every backend implements.

A model is a function over `Ops`. A backend may run each op as it comes (eager) or record the calls once and
replay them (a program); the function cannot tell. Rows, block tables and the rows to sample from are
arguments of a step that ops read from the backend's current batch: the function sees only opaque handles.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

Handle = Any
"""A value inside a step, [num_rows, width]: a tensor, or a buffer of a program. Opaque to models."""


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding in the half-split (GPT-NeoX) convention that Hugging Face uses.

    The angle of pair j at position p is p * theta ** (-2j / head_dim), pair j being elements j and
    j + head_dim / 2. Source: Su et al. 2021, section 3.2.2.
    """

    head_dim: int
    theta: float


class Ops(Protocol):
    """Names of weights are relative to the enclosing scopes: `scope("a")` and "b" read "a.b.weight"."""

    def scope(self, name: str) -> AbstractContextManager[None]:
        """Prefix the weight names used inside with `name` and a dot."""

    def embed(self, name: str) -> Handle:
        """Rows of the embedding table for the step's token ids. Returns [num_tokens, hidden]."""

    def rms_norm(self, x: Handle, name: str, eps: float, head_dim: int | None = None) -> Handle:
        """Root-mean-square norm over the last axis, or over each `head_dim` of it; times the weight."""

    def column_linear(self, x: Handle, names: Sequence[str], bias: bool = False) -> list[Handle]:
        """x @ W.T (+ b) for several weights that read the same input; outputs may be sharded by columns."""

    def row_linear(self, x: Handle, name: str, bias: bool = False) -> Handle:
        """x @ W.T (+ b) for a weight whose input may be sharded; the result is whole on every shard."""

    def rope(self, q: Handle, k: Handle, rope: Rope) -> tuple[Handle, Handle]:
        """Rotate each head of q and k by its token's position."""

    def attention(self, q: Handle, k: Handle, v: Handle, layer: int, scale: float) -> Handle:
        """Write k and v into the layer's KV cache, then causal attention over each sequence's whole context.

        q: [num_tokens, num_heads * head_dim]; k, v: [num_tokens, num_kv_heads * head_dim]; returns q's shape.
        K and V, the current tokens' included, are read from the cache in the cache's type.
        """

    def silu_mul(self, gate: Handle, up: Handle) -> Handle:
        """silu(gate) * up, elementwise."""

    def add(self, a: Handle, b: Handle) -> Handle:
        """a + b, elementwise."""

    def select_rows(self, x: Handle) -> Handle:
        """Only the rows that the step samples from. Returns [num_outputs, width]."""

    def lm_head(self, x: Handle, name: str) -> Handle:
        """Logits for x's rows: x @ W.T. Returns [num_outputs, vocab_size]."""

    def output(self, name: str, x: Handle) -> None:
        """Name a value as an output of the step: "hidden" or "logits"."""
