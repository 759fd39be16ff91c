"""The batch's arrays against a slow reading of the requests."""

import pytest

from tests.engine.harness import BLOCK_SIZE, VOCAB_SIZE, batches, make_core, make_request, query_lens

PROMPT = list(range(10))


def test_the_batch_arrays_are_what_a_slow_reading_of_the_requests_gives():
    core = make_core(max_num_batched_tokens=9)
    core.add_request(make_request("a", PROMPT[:3], n=2, temperature=0.5, seed=-7, top_k=-1, logprobs=2))
    core.add_request(make_request("b", PROMPT[:5], temperature=0.7, top_p=0.5, top_k=3))
    core.add_request(make_request("c", PROMPT[:6]))
    core.step()
    core.step()
    batch = batches(core)[1]
    tables = {tuple(row[row >= 0].tolist()) for row in batch.block_tables}
    assert tables == {tuple(request.block_table) for request in core.scheduler.running}
    row = 0
    for sequence, length in enumerate(query_lens(batch)):
        table = batch.block_tables[sequence].tolist()
        for position in range(batch.context_lens[sequence] - length, batch.context_lens[sequence]):
            assert batch.positions[row] == position
            assert (
                batch.slot_mapping[row] == table[position // BLOCK_SIZE] * BLOCK_SIZE + position % BLOCK_SIZE
            )
            row += 1
    assert row == batch.num_tokens
    assert (batch.token_ids < VOCAB_SIZE).all()
    sampling = batch.sampling
    assert sampling.temperature.tolist() == pytest.approx([0.5, 0.7, 0.0, 0.5])
    assert sampling.top_k.tolist() == [0, 3, 0, 0]
    assert sampling.top_p.tolist() == [1, 0.5, 1, 1]
    assert sampling.seed.tolist() == [-7, 0, 0, -7]
    assert sampling.num_logprobs.tolist() == [2, -1, -1, 2]
    assert sampling.position.tolist() == [4, 6, 6, 3]
