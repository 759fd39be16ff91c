"""`Ops`: the vocabulary in which every model is written, and that every backend implements.

A model is a function over `Ops`. A backend may run each op as it comes (eager) or record the calls once and
replay them (a program); the function cannot tell. Rows, block tables and the rows to sample from are
arguments of a step that ops read from the backend's current batch: the function sees only opaque handles.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from gradus.models.rope import Rope

Handle = Any
"""A value inside a step, [num_rows, width]: a tensor, or a buffer of a program. Opaque to models."""


@dataclass(frozen=True, slots=True)
class ExpertShape:
    """A mixture of experts: `top_k` of `num_experts` gated MLPs of `intermediate_size` for each token.

    `renormalize`: the chosen experts' probabilities are divided by their sum.
    """

    num_experts: int
    top_k: int
    intermediate_size: int
    renormalize: bool


class Ops(Protocol):
    """Names of weights are relative to the enclosing scopes: `scope("a")` and "b" read "a.b.weight"."""

    def scope(self, name: str) -> AbstractContextManager[None]:
        """Prefix the weight names used inside with `name` and a dot."""

    def embed(self, name: str, scale: float = 1.0) -> Handle:
        """The embedding table's rows for the step's token ids, times `scale`: [num_tokens, hidden]."""

    def rms_norm(
        self, x: Handle, name: str, eps: float, head_dim: int | None = None, offset: float = 0.0
    ) -> Handle:
        """Root-mean-square norm over the last axis, or each `head_dim` of it; times weight + `offset`."""

    def column_linear(self, x: Handle, names: Sequence[str], bias: bool = False) -> list[Handle]:
        """x @ W.T (+ b) for several weights that read the same input; outputs may be sharded by columns."""

    def fused_linear(self, x: Handle, name: str, widths: Sequence[int]) -> list[Handle]:
        """`column_linear` for one stored weight whose outputs are several values, side by side."""

    def row_linear(self, x: Handle, name: str, bias: bool = False) -> Handle:
        """x @ W.T (+ b) for a weight whose input may be sharded; the result is whole on every shard."""

    def rope(self, q: Handle, k: Handle, rope: Rope) -> tuple[Handle, Handle]:
        """Rotate each head of q and k by its token's position."""

    def attention(
        self,
        q: Handle,
        k: Handle,
        v: Handle,
        layer: int,
        scale: float,
        window: int | None = None,
        soft_cap: float | None = None,
    ) -> Handle:
        """Write k and v into the layer's KV cache, then causal attention over each sequence's context.

        q: [num_tokens, num_heads * head_dim]; k, v: [num_tokens, num_kv_heads * head_dim]; returns q's shape.
        K and V, the current tokens' included, are read from the cache in the cache's type. `window`: how many
        tokens a token sees, itself and those before it. `soft_cap`: scaled scores s become
        soft_cap * tanh(s / soft_cap).
        """

    def silu_mul(self, gate: Handle, up: Handle) -> Handle:
        """silu(gate) * up, elementwise."""

    def gelu_mul(self, gate: Handle, up: Handle) -> Handle:
        """gelu(gate) * up, elementwise, gelu in its tanh form."""

    def experts(self, x: Handle, name: str, shape: ExpertShape) -> Handle:
        """Each row's gated (silu) MLPs of the experts that its router chooses, summed by their probabilities.

        Reads the router from `name`.gate and expert e from `name`.experts.e.{gate_proj, up_proj, down_proj}.
        Probabilities are the softmax over all experts. Source: Shazeer et al. 2017, section 2.1.
        """

    def add(self, a: Handle, b: Handle) -> Handle:
        """a + b, elementwise."""

    def select_rows(self, x: Handle) -> Handle:
        """Only the rows that the step samples from. Returns [num_outputs, width]."""

    def lm_head(self, x: Handle, name: str, soft_cap: float | None = None) -> Handle:
        """Logits for x's rows: x @ W.T, soft-capped as in `attention`. Returns [num_outputs, vocab_size]."""

    def output(self, name: str, x: Handle) -> None:
        """Name a value as an output of the step: "hidden" or "logits"."""
