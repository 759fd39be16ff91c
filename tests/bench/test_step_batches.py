"""Batches that stand for an engine's steps."""

import numpy as np
import pytest

from gradus.bench.step_batches import StepShape, decode_shape, make_batch, prefill_shape
from tests.tiny_models import tiny_backend

SHAPES = [decode_shape(1, 5), decode_shape(7, 33), prefill_shape(40), StepShape("chunk", 2, 16, 20)]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_backend_runs_it(shape):
    backend = tiny_backend()
    try:
        result = backend.execute(make_batch(shape, backend.block_size, backend.vocab_size))
    finally:
        backend.close()
    assert list(result.num_sampled) == [1] * shape.num_seqs


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_tokens_lie_in_their_sequences_blocks(shape):
    batch = make_batch(shape, 16, 97)
    assert batch.num_tokens == shape.num_tokens
    assert len(set(batch.slot_mapping)) == shape.num_tokens
    assert batch.block_tables.size == shape.num_blocks(16)
    for i in range(shape.num_seqs):
        rows = slice(batch.query_start[i], batch.query_start[i + 1])
        positions = batch.positions[rows]
        assert list(positions) == list(range(shape.context, shape.length))
        blocks = batch.block_tables[i][positions // 16]
        assert np.array_equal(batch.slot_mapping[rows], blocks.astype(np.int64) * 16 + positions % 16)
        assert batch.output_rows[i] == rows.stop - 1


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_attended_pairs_by_counting(shape):
    counted = sum(position + 1 for position in make_batch(shape, 16, 97).positions)
    assert shape.num_attended == counted
