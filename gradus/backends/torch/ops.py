"""`Ops` in plain torch on a CPU: the arithmetic that every other backend is tested against.

Each op is computed as it comes, in f32, written to be read. One `EagerOps` serves one step.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from gradus.batch import Batch
from gradus.models.ops import ExpertShape
from gradus.models.rope import Rope, inverse_frequencies

KVCache = Tensor
"""[num_layers, 2 (K, V), num_blocks, block_size, num_kv_heads, head_dim] in the cache's type."""


class EagerOps:
    """Implements `Ops` for one batch; `outputs` holds what the model named."""

    def __init__(self, weights: Mapping[str, Tensor], kv_cache: KVCache, batch: Batch) -> None:
        self.outputs: dict[str, Tensor] = {}
        self._weights = weights
        self._kv_cache = kv_cache
        self._prefix = ""
        self._token_ids = torch.from_numpy(batch.token_ids).long()
        self._positions = torch.from_numpy(batch.positions).long()
        self._slot_mapping = torch.from_numpy(batch.slot_mapping)
        self._query_start = batch.query_start.tolist()
        self._context_lens = batch.context_lens.tolist()
        self._block_tables = torch.from_numpy(batch.block_tables).long()
        self._output_rows = torch.from_numpy(batch.output_rows).long()

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        outer, self._prefix = self._prefix, f"{self._prefix}{name}."
        try:
            yield
        finally:
            self._prefix = outer

    def embed(self, name: str, scale: float = 1.0) -> Tensor:
        return self._weight(name)[self._token_ids] * scale

    def rms_norm(
        self, x: Tensor, name: str, eps: float, head_dim: int | None = None, offset: float = 0.0
    ) -> Tensor:
        """Source: Zhang & Sennrich 2019, eq. 4, with eps inside the root as in published models."""
        heads = x.unflatten(-1, (-1, head_dim or x.shape[-1]))  # [rows, heads, head_dim]
        mean_square = heads.square().mean(-1, keepdim=True)
        return (heads * torch.rsqrt(mean_square + eps) * (self._weight(name) + offset)).flatten(-2)

    def column_linear(self, x: Tensor, names: Sequence[str], bias: bool = False) -> list[Tensor]:
        return [self.row_linear(x, name, bias) for name in names]

    def fused_linear(self, x: Tensor, name: str, widths: Sequence[int]) -> list[Tensor]:
        return list(self.row_linear(x, name).split(list(widths), dim=-1))

    def row_linear(self, x: Tensor, name: str, bias: bool = False) -> Tensor:
        return functional.linear(x, self._weight(name), self._weight(name, "bias") if bias else None)

    def rope(self, q: Tensor, k: Tensor, rope: Rope) -> tuple[Tensor, Tensor]:
        angles = self._positions[:, None] * torch.from_numpy(inverse_frequencies(rope))
        return _rotate(q, angles, rope), _rotate(k, angles, rope)

    def attention(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layer: int,
        scale: float,
        window: int | None = None,
        soft_cap: float | None = None,
    ) -> Tensor:
        k_cache, v_cache = self._kv_cache[layer]  # each [num_blocks, block_size, num_kv_heads, head_dim]
        num_kv_heads, head_dim = k_cache.shape[-2:]
        for cache, new in ((k_cache, k), (v_cache, v)):
            cache.flatten(0, 1)[self._slot_mapping] = new.unflatten(-1, (num_kv_heads, head_dim)).to(
                cache.dtype
            )
        q = q.unflatten(-1, (-1, head_dim))
        out = torch.empty_like(q)
        for i, context_len in enumerate(self._context_lens):
            rows = slice(self._query_start[i], self._query_start[i + 1])
            keys = self._context(k_cache, i, context_len)
            values = self._context(v_cache, i, context_len)
            distances = self._positions[rows, None] - torch.arange(context_len)  # [rows, context_len]
            is_seen = (distances >= 0) & (distances < (window or context_len))
            out[rows] = _attend(q[rows], keys, values, is_seen, scale, soft_cap)
        return out.flatten(-2)

    def silu_mul(self, gate: Tensor, up: Tensor) -> Tensor:
        return functional.silu(gate) * up

    def gelu_mul(self, gate: Tensor, up: Tensor) -> Tensor:
        return functional.gelu(gate, approximate="tanh") * up

    def experts(self, x: Tensor, name: str, shape: ExpertShape) -> Tensor:
        probabilities = self.row_linear(x, f"{name}.gate").softmax(dim=-1)
        chosen, experts = probabilities.topk(shape.top_k, dim=-1)  # each [rows, top_k]
        if shape.renormalize:
            chosen = chosen / chosen.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(x)
        for expert in experts.unique().tolist():
            rows, ranks = torch.where(experts == expert)
            with self.scope(f"{name}.experts.{expert}"):
                gate, up = self.column_linear(x[rows], ["gate_proj", "up_proj"])
                y = self.row_linear(self.silu_mul(gate, up), "down_proj")
            out[rows] += y * chosen[rows, ranks, None]
        return out

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def select_rows(self, x: Tensor) -> Tensor:
        return x[self._output_rows]

    def lm_head(self, x: Tensor, name: str, soft_cap: float | None = None) -> Tensor:
        return _soft_capped(functional.linear(x, self._weight(name)), soft_cap)

    def output(self, name: str, x: Tensor) -> None:
        self.outputs[name] = x

    def _weight(self, name: str, kind: str = "weight") -> Tensor:
        return self._weights[f"{self._prefix}{name}.{kind}"]

    def _context(self, cache: Tensor, sequence: int, context_len: int) -> Tensor:
        """A sequence's keys or values in order: [context_len, num_kv_heads, head_dim] f32."""
        num_blocks = math.ceil(context_len / cache.shape[1])
        blocks = cache[self._block_tables[sequence, :num_blocks]]
        return blocks.flatten(0, 1)[:context_len].float()


def _rotate(x: Tensor, angles: Tensor, rope: Rope) -> Tensor:
    """Turn each head's pairs (j, j + num_rotated / 2) by their token's angles.

    x: [num_tokens, heads * head_dim]; angles: [num_tokens, num_rotated / 2]. Source: Su et al. 2021, eq. 34.
    """
    cos, sin = (part[:, None] * rope.magnitude for part in (angles.cos(), angles.sin()))
    heads = x.unflatten(-1, (-1, rope.head_dim))
    turning, staying = heads[..., : rope.num_rotated], heads[..., rope.num_rotated :]
    first, second = turning.chunk(2, dim=-1)  # [num_tokens, heads, num_rotated / 2]
    turned = (first * cos - second * sin, second * cos + first * sin)
    return torch.cat((*turned, staying), dim=-1).flatten(1)


def _attend(
    q: Tensor, keys: Tensor, values: Tensor, is_seen: Tensor, scale: float, soft_cap: float | None
) -> Tensor:
    """Attention of one sequence's new tokens over its context; query heads share key heads in groups.

    q: [rows, num_heads, head_dim]; keys, values: [context_len, num_kv_heads, head_dim]; is_seen:
    [rows, context_len]. Returns q's shape. Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 for the
    groups.
    """
    num_groups = q.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(num_groups, dim=1)
    values = values.repeat_interleave(num_groups, dim=1)
    scores = _soft_capped(torch.einsum("rhd,chd->hrc", q, keys) * scale, soft_cap)
    weights = scores.masked_fill(~is_seen, -torch.inf).softmax(dim=-1)
    return torch.einsum("hrc,chd->rhd", weights, values)


def _soft_capped(x: Tensor, cap: float | None) -> Tensor:
    """Source: Gemma 2 technical report, 2024, section 2."""
    return x if cap is None else cap * torch.tanh(x / cap)
