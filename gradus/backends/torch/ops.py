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
from gradus.models.ops import Rope

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

    def embed(self, name: str) -> Tensor:
        return self._weight(name)[self._token_ids]

    def rms_norm(self, x: Tensor, name: str, eps: float, head_dim: int | None = None) -> Tensor:
        """Source: Zhang & Sennrich 2019, eq. 4, with eps inside the root as in published models."""
        heads = x.unflatten(-1, (-1, head_dim or x.shape[-1]))  # [rows, heads, head_dim]
        mean_square = heads.square().mean(-1, keepdim=True)
        return (heads * torch.rsqrt(mean_square + eps) * self._weight(name)).flatten(-2)

    def column_linear(self, x: Tensor, names: Sequence[str], bias: bool = False) -> list[Tensor]:
        return [self.row_linear(x, name, bias) for name in names]

    def row_linear(self, x: Tensor, name: str, bias: bool = False) -> Tensor:
        return functional.linear(x, self._weight(name), self._weight(name, "bias") if bias else None)

    def rope(self, q: Tensor, k: Tensor, rope: Rope) -> tuple[Tensor, Tensor]:
        pair = torch.arange(0, rope.head_dim, 2, dtype=torch.float32)
        inverse_wavelengths = 1.0 / rope.theta ** (pair / rope.head_dim)  # [head_dim / 2]
        angles = self._positions[:, None] * inverse_wavelengths  # [num_tokens, head_dim / 2]
        return _rotate(q, angles), _rotate(k, angles)

    def attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
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
            out[rows] = _attend(q[rows], keys, values, self._positions[rows], scale)
        return out.flatten(-2)

    def silu_mul(self, gate: Tensor, up: Tensor) -> Tensor:
        return functional.silu(gate) * up

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def select_rows(self, x: Tensor) -> Tensor:
        return x[self._output_rows]

    def lm_head(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._weight(name))

    def output(self, name: str, x: Tensor) -> None:
        self.outputs[name] = x

    def _weight(self, name: str, kind: str = "weight") -> Tensor:
        return self._weights[f"{self._prefix}{name}.{kind}"]

    def _context(self, cache: Tensor, sequence: int, context_len: int) -> Tensor:
        """A sequence's keys or values in order: [context_len, num_kv_heads, head_dim] f32."""
        num_blocks = math.ceil(context_len / cache.shape[1])
        blocks = cache[self._block_tables[sequence, :num_blocks]]
        return blocks.flatten(0, 1)[:context_len].float()


def _rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each head's pairs (j, j + head_dim / 2) by their token's angles.

    x: [num_tokens, heads * head_dim]; angles: [num_tokens, head_dim / 2]. Source: Su et al. 2021, eq. 34.
    """
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    first, second = x.unflatten(-1, (-1, 2, angles.shape[-1])).unbind(-2)  # [num_tokens, heads, head_dim / 2]
    turned = torch.stack((first * cos - second * sin, second * cos + first * sin), dim=-2)
    return turned.flatten(1)


def _attend(q: Tensor, keys: Tensor, values: Tensor, positions: Tensor, scale: float) -> Tensor:
    """Causal attention of one sequence's new tokens over its context; query heads share key heads in groups.

    q: [rows, num_heads, head_dim]; keys, values: [context_len, num_kv_heads, head_dim]; positions: [rows].
    Returns q's shape. Source: Vaswani et al. 2017, eq. 1; Ainslie et al. 2023 for the groups.
    """
    num_groups = q.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(num_groups, dim=1)
    values = values.repeat_interleave(num_groups, dim=1)
    scores = torch.einsum("rhd,chd->hrc", q, keys) * scale
    is_later = torch.arange(len(keys))[None, :] > positions[:, None]  # [rows, context_len]
    weights = scores.masked_fill(is_later, -torch.inf).softmax(dim=-1)
    return torch.einsum("hrc,chd->rhd", weights, values)
