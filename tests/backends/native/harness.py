"""Runs single instructions of the native executor on NumPy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradus.backends.native import _native, step
from gradus.backends.native.operations import row_stride
from gradus.batch import Batch, SamplingBatch

TOKENS = _native.RowSet.tokens
OUTPUTS = _native.RowSet.outputs


def padded(width: int) -> int:
    return -(-width // 16) * 16


def make_executor(cpu_variant: str, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "num_threads": 2,
        "kv_format": "f32",
        "num_layers": 1,
        "num_blocks": 64,
        "block_size": 16,
        "num_heads": 1,
        "num_kv_heads": 1,
        "head_dim": 16,
        "vocab_size": 1024,
        "max_rows": 1024,
        "max_model_len": 2048,
    }
    return _native.Executor(cpu_variant=cpu_variant, **(values | changes))


class Tensor:
    """A buffer of rows with a view on it and an array over it; the padding holds NaN, to be left alone."""

    def __init__(self, rows: int, width: int, row_set: Any = TOKENS) -> None:
        stride = row_stride(padded(width))
        self.buffer = _native.Buffer(max(1, rows) * stride)
        self.view = _native.View(self.buffer, 0, stride, width, row_set)
        whole = self.buffer.numpy()
        whole[:] = np.nan
        self.array = whole.reshape(-1, stride)[:rows, :width]

    @classmethod
    def of(cls, values: np.ndarray, row_set: Any = TOKENS) -> "Tensor":
        tensor = cls(*values.shape, row_set)
        tensor.array[:] = values
        return tensor


def pack(executor: Any, matrix: np.ndarray, weight_format: str, bias: np.ndarray | None = None) -> Any:
    weight = _native.Weight(weight_format, [len(matrix)], matrix.shape[1])
    weight.pack(0, np.ascontiguousarray(matrix, np.float32), "f32", executor)
    if bias is not None:
        weight.set_bias(0, bias.astype(np.float32))
    return weight


def make_batch(
    contexts: Sequence[int],
    rows: Sequence[int],
    *,
    tables: np.ndarray | None = None,
    block_size: int = 16,
    output_rows: Sequence[int] = (),
    token_ids: np.ndarray | None = None,
    block_copies: Sequence[tuple[int, int]] = (),
    sampling: dict[str, Any] | None = None,
    return_logits: bool = False,
) -> Batch:
    """A step that computes the last `rows[i]` tokens of sequences that then have `contexts[i]`; greedy."""
    if tables is None:
        tables = consecutive_tables(contexts, block_size)
    positions = [np.arange(c - r, c) for c, r in zip(contexts, rows, strict=True)]
    slots = [
        tables[i][p // block_size].astype(np.int64) * block_size + p % block_size
        for i, p in enumerate(positions)
    ]
    return Batch(
        token_ids=np.zeros(sum(rows), np.int32) if token_ids is None else np.asarray(token_ids, np.int32),
        positions=np.concatenate(positions, dtype=np.int32, casting="unsafe"),
        slot_mapping=np.concatenate(slots),
        query_start=np.cumsum([0, *rows]).astype(np.int32),
        context_lens=np.array(contexts, np.int32),
        block_tables=tables.astype(np.int32),
        block_copies=np.array(block_copies, np.int32).reshape(-1, 2),
        output_rows=np.array(output_rows, np.int32),
        return_logits=return_logits,
        sampling=make_sampling(len(output_rows), **(sampling or {})),
    )


def consecutive_tables(contexts: Sequence[int], block_size: int) -> np.ndarray:
    num_blocks = [-(-context // block_size) for context in contexts]
    tables = np.full((len(contexts), max(num_blocks, default=1)), -1, np.int32)
    first = 0
    for i, n in enumerate(num_blocks):
        tables[i, :n] = np.arange(first, first + n)
        first += n
    return tables


def make_sampling(n: int, **changes: Any) -> SamplingBatch:
    values = {
        "temperature": np.zeros(n, np.float32),
        "top_p": np.ones(n, np.float32),
        "top_k": np.zeros(n, np.int32),
        "min_p": np.zeros(n, np.float32),
        "seed": np.zeros(n, np.int64),
        "choice_index": np.zeros(n, np.int32),
        "position": np.ones(n, np.int32),
        "num_logprobs": np.full(n, -1, np.int32),
    }
    return SamplingBatch(**(values | changes))


def make_step(*arguments: Any, **keywords: Any) -> Any:
    """`make_batch`'s batch as the executor takes it."""
    return step.make_step(make_batch(*arguments, **keywords))


def rows_step(num_rows: int, **changes: Any) -> Any:
    """A step with `num_rows` rows and nothing particular about them."""
    return make_step([num_rows], [num_rows], **changes)


def run(executor: Any, step_to_run: Any, *instructions: Any) -> tuple[Any, ...]:
    program = _native.Program()
    for instruction in instructions:
        program.append(instruction)
    return executor.run(program, step_to_run)
