"""Rungs 2 and 3: the loop that builds batches and samples, without and with a block pool.

Rung 2 gives each sequence blocks that never change; rung 3 takes them from the pool as they are needed.
"""

from collections.abc import Sequence

from gradus.bench.ladder.base import Rung, RungRun, Stopwatch
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.bench.ladder.static_runner import Blocks, PooledBlocks, StaticRunner, fixed_blocks
from gradus.engine.block_pool import BlockPool


class RunnerRung(Rung):
    """Rung 2: its own tokens, in blocks that do not move."""

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        ground = self.ground
        runner = StaticRunner(
            ground.backend, ground.scheduler, concurrency, self._blocks(requests, concurrency)
        )
        watch = Stopwatch()
        with watch.running():
            token_ids = runner.run(requests)
        outputs = [Output(len(ids), ids) for ids in token_ids]
        return RungRun(watch.seconds, watch.cpu_seconds, runner.num_steps, runner.num_tokens, outputs)

    def _blocks(self, requests: Sequence[LadderRequest], concurrency: int) -> Blocks:
        return fixed_blocks(self.ground.backend, requests, concurrency)


class PoolRung(RunnerRung):
    """Rung 3: with blocks from the pool."""

    def _blocks(self, requests: Sequence[LadderRequest], concurrency: int) -> Blocks:
        backend = self.ground.backend
        return PooledBlocks(BlockPool(backend.num_blocks), backend.block_size)
