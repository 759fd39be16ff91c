"""Sequences whose attention is computed however the work is cut, and the formula in float64."""

import numpy as np

from gradus.backends.native import _native
from tests.backends.native.harness import OUTPUTS, Tensor, make_executor, make_step, run

CUTS = [(16, 1, (1, 64, 7)), (32, 3, (256, 3)), (64, 2, (100,)), (128, 2, (33, 250)), (544, 2, (300, 2))]
CONTEXTS = [1, 5, 16, 17, 40, 255, 256, 257, 300, 530]


class Sequences:
    """K, V and Q of some sequences, and a cache's worth of randomly assigned blocks."""

    def __init__(self, contexts, *, num_heads, num_kv_heads, head_dim, block_size=16, seed=0):
        self.random = np.random.default_rng([seed, num_heads, num_kv_heads, head_dim])
        self.contexts = list(contexts)
        self.block_size = block_size
        self.shape = {"num_heads": num_heads, "num_kv_heads": num_kv_heads, "head_dim": head_dim}
        self.q = [self._normal(c, num_heads * head_dim) for c in contexts]
        self.k = [self._normal(c, num_kv_heads * head_dim) for c in contexts]
        self.v = [self._normal(c, num_kv_heads * head_dim) for c in contexts]

    def _normal(self, rows, width):
        return (self.random.normal(size=(rows, width)) * 1.5).astype(np.float32)

    def tables(self, num_blocks, seed):
        needed = [-(-c // self.block_size) for c in self.contexts]
        blocks = np.random.default_rng(seed).permutation(num_blocks)
        tables = np.full((len(needed), max(needed)), -1, np.int32)
        for i, n in enumerate(needed):
            tables[i, :n], blocks = blocks[:n], blocks[n:]
        return tables


def attend(
    sequences,
    cpu_variant,
    *,
    kv_format="f32",
    kernel="blocked",
    num_threads=2,
    seed=0,
    chunks=(10**9,),
    window=0,
    soft_cap=0.0,
):
    """Every row's attention, written and computed chunk by chunk; chunk sizes are taken in turn."""
    block_size = sequences.block_size
    num_blocks = sum(-(-c // block_size) for c in sequences.contexts) + 3
    executor = make_executor(
        cpu_variant,
        num_threads=num_threads,
        kv_format=kv_format,
        block_size=block_size,
        num_blocks=num_blocks,
        max_rows=sum(sequences.contexts),
        **sequences.shape,
    )
    tables = sequences.tables(num_blocks, seed)
    outputs = [np.empty_like(q) for q in sequences.q]
    done = [0] * len(outputs)
    turn = 0
    while any(d < c for d, c in zip(done, sequences.contexts, strict=True)):
        rows = []
        for d, c in zip(done, sequences.contexts, strict=True):
            rows.append(min(c - d, chunks[turn % len(chunks)]))
            turn += 1
        chosen = [i for i, r in enumerate(rows) if r > 0]
        pieces = [slice(done[i], done[i] + rows[i]) for i in chosen]
        q, k, v = (
            Tensor.of(np.concatenate([source[i][piece] for i, piece in zip(chosen, pieces, strict=True)]))
            for source in (sequences.q, sequences.k, sequences.v)
        )
        out = Tensor(*q.array.shape)
        step = make_step(
            [done[i] + rows[i] for i in chosen],
            [rows[i] for i in chosen],
            tables=tables[chosen],
            block_size=block_size,
        )
        scale = sequences.shape["head_dim"] ** -0.5
        attention = executor.attention(q.view, 0, scale, kernel, out.view, window, soft_cap)
        run(executor, step, executor.kv_write(k.view, v.view, 0), attention)
        begin = 0
        for i, piece in zip(chosen, pieces, strict=True):
            outputs[i][piece] = out.array[begin : begin + rows[i]]
            begin += rows[i]
            done[i] += rows[i]
    return outputs


def formula(sequences, kv_format, window=0, soft_cap=0.0):
    """softmax(capped q . k / sqrt(d) + causal mask) . v in float64, on K and V in the cache's type."""
    head_dim, num_kv_heads = sequences.shape["head_dim"], sequences.shape["num_kv_heads"]
    num_groups = sequences.shape["num_heads"] // num_kv_heads
    outputs = []
    for q, k, v in zip(sequences.q, sequences.k, sequences.v, strict=True):
        if kv_format == "f16":
            k, v = k.astype(np.float16), v.astype(np.float16)
        q, k, v = (by_heads(x.astype(np.float64), head_dim) for x in (q, k, v))
        k, v = (x.repeat(num_groups, axis=0) for x in (k, v))
        weights = softmax_of_seen(q @ k.swapaxes(1, 2) * head_dim**-0.5, window, soft_cap)
        outputs.append(by_tokens(weights @ v))
    return outputs


def by_heads(x, head_dim):
    """[tokens][heads * head_dim] as [heads][tokens][head_dim]."""
    return x.reshape(len(x), -1, head_dim).swapaxes(0, 1)


def by_tokens(x):
    """The reverse of `by_heads`."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)


def softmax_of_seen(scores, window, soft_cap):
    """Weights [heads, queries, tokens] of capped scores; a query sees itself and its window before it."""
    if soft_cap:
        scores = soft_cap * np.tanh(scores / soft_cap)
    num_tokens = scores.shape[-1]
    distances = np.arange(num_tokens)[:, None] - np.arange(num_tokens)
    seen = np.where((distances < 0) | (distances >= (window or num_tokens)), -np.inf, scores)
    weights = np.exp(seen - seen.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def attend_to_all_and_to_some(variant, kernel, output_rows):
    """Some rows of three sequences (a chunk, a decoded token, a prompt but one): as all rows give them, and
    computed alone.
    """
    contexts, rows = [300, 40, 21], [70, 1, 20]
    shape = {"num_heads": 6, "num_kv_heads": 2, "head_dim": 40}
    executor = make_executor(variant, kv_format="f16", max_rows=91, **shape)
    random = np.random.default_rng(2)
    step = make_step(contexts, rows, output_rows=output_rows)
    k, v = (Tensor.of(random.normal(size=(91, 80))) for _ in range(2))
    q = Tensor.of(random.normal(size=(91, 240)))
    chosen, some = (Tensor(len(output_rows), 240, OUTPUTS) for _ in range(2))
    out = Tensor(91, 240)
    run(
        executor,
        step,
        executor.kv_write(k.view, v.view, 0),
        executor.attention(q.view, 0, 0.2, kernel, out.view),
        _native.select_rows(q.view, chosen.view),
        executor.attention(chosen.view, 0, 0.2, kernel, some.view),
    )
    return out.array[output_rows], some.array
