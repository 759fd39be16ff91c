"""The runner of static batches: the engine's tokens, and its own count of steps."""

import pytest

from gradus.bench.ladder.core import CoreRung
from gradus.bench.ladder.requests import RequestMaker
from gradus.bench.ladder.runner import PoolRung, RunnerRung
from gradus.bench.ladder.static_runner import PooledBlocks, StaticRunner
from gradus.bench.workloads.base import Workload, WorkloadRequest
from gradus.config import SchedulerConfig
from gradus.engine.block_pool import BlockPool


class Uneven(Workload):
    """(prompt, output) lengths that differ."""

    LENGTHS = ((20, 3), (3, 17), (1, 1), (40, 5), (9, 9))

    def requests(self, vocab_size, round_index):
        return [
            WorkloadRequest([(7 * i + k) % vocab_size for k in range(n)], m)
            for i, (n, m) in enumerate(self.LENGTHS)
        ]

    max_context = 45
    lengths = ""


@pytest.fixture(scope="module")
def requests(ladder):
    return RequestMaker(ladder.runtime, Uneven(name="uneven", concurrency=2)).requests(1)


@pytest.mark.parametrize("kind", [RunnerRung, PoolRung])
def test_unequal_requests_get_the_engines_tokens(ladder, requests, kind):
    run, engine = kind(ladder.ground).run(requests, 2), CoreRung(ladder.ground).run(requests, 2)
    assert run.outputs == engine.outputs
    assert [output.num_tokens for output in run.outputs] == [m for _, m in Uneven.LENGTHS]
    assert run.num_counted_tokens == run.num_tokens == engine.num_counted_tokens
    assert run.num_steps == max(3, 17) + max(1, 5) + 9  # as many as the longest of each batch


def test_prompts_are_spread_over_steps_where_the_budget_is_small(ladder, requests):
    config = SchedulerConfig(max_model_len=64, max_num_batched_tokens=8)
    pool = BlockPool(ladder.ground.backend.num_blocks)
    blocks = PooledBlocks(pool, ladder.ground.backend.block_size)
    runner = StaticRunner(ladder.ground.backend, config, 2, blocks)
    whole = RunnerRung(ladder.ground).run(requests, 2)
    assert runner.run(requests) == [output.token_ids for output in whole.outputs]
    assert runner.num_steps > whole.num_steps
    assert runner.num_tokens == whole.num_tokens
    pool.check_integrity()
    assert pool.num_used == 0
