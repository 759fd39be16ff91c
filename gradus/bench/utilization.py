"""Utilization: which share of its time a step would have needed at this machine's measured ceilings.

A step's bound is the sum of its operations' bounds, since they run one after another; an operation of which
shapes do not tell the cost, such as a mixture's experts, adds nothing. Knows the native backend's program.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from gradus.backends.native.backend import NativeBackend
from gradus.batch import Backend, Batch, StepResult
from gradus.bench.ceilings import Ceilings
from gradus.bench.engine_driver import SeenStep
from gradus.bench.op_costs import StepSize, op_cost
from gradus.engine.core import EngineCore
from gradus.models.config import ModelConfig


@dataclass(frozen=True, slots=True)
class StepWork:
    """What an engine's step computed; its sequences may all differ.

    Attributes:
        num_seqs: rows that are sampled from.
        num_attended: pairs of a token of the step and a token that it attends to.
        num_sampled_attended: those of the rows that are sampled from.
        num_context: tokens of all its sequences after the step.
        length: tokens of the longest.
    """

    num_tokens: int
    num_seqs: int
    num_attended: int
    num_sampled_attended: int
    num_context: int
    length: int

    @staticmethod
    def of(batch: Batch) -> "StepWork":
        new = np.diff(batch.query_start).astype(np.int64)
        lengths = batch.context_lens.astype(np.int64)
        attended = new * (lengths - new) + new * (new + 1) // 2
        sampled = batch.positions[batch.output_rows].astype(np.int64) + 1
        return StepWork(
            batch.num_tokens,
            batch.num_outputs,
            int(attended.sum()),
            int(sampled.sum()),
            int(lengths.sum()),
            int(lengths.max()),
        )


@contextmanager
def watched_steps(core: EngineCore) -> Iterator[list[StepWork]]:
    """Gets an entry for each step that the engine runs meanwhile."""
    backend, works = core.backend, list[StepWork]()
    core.backend = _Watched(backend, works)
    try:
        yield works
    finally:
        core.backend = backend


class StepBounds:
    """The least seconds that steps can take on this machine, by its ceilings."""

    def __init__(self, backend: NativeBackend, model: ModelConfig, ceilings: Ceilings) -> None:
        self._backend = backend
        self._model = model
        self.ceilings = ceilings

    def seconds(self, work: StepSize) -> float:
        """Of one step."""
        backend = self._backend
        costs = (
            op_cost(operation, work, self._model, backend.kv_bytes_per_token)
            for operation in backend.operations
        )
        bounds = (self.ceilings.bound(cost, backend.num_threads) for cost in costs)
        return sum(bound[0] for bound in bounds if bound is not None)


def utilization(bounds: StepBounds, works: Sequence[StepWork], steps: Sequence[SeenStep]) -> dict[str, float]:
    """The share of all steps' time that their bounds are, and of the steps of each kind there was.

    works, steps: of one run, in order.
    """
    least: dict[str, float] = defaultdict(float)
    taken: dict[str, float] = defaultdict(float)
    computing = [step for step in steps if step.kind is not None]
    for work, step in zip(works, computing, strict=True):
        bound = bounds.seconds(work)
        for kind in ("all", step.kind or ""):
            least[kind] += bound
            taken[kind] += step.seconds
    return {kind: least[kind] / taken[kind] for kind in taken}


class _Watched:
    """Implements `Backend`: another one, whose steps are noted."""

    def __init__(self, backend: Backend, works: list[StepWork]) -> None:
        self._backend = backend
        self._works = works
        self.block_size = backend.block_size
        self.num_blocks = backend.num_blocks
        self.vocab_size = backend.vocab_size

    def execute(self, batch: Batch) -> StepResult:
        self._works.append(StepWork.of(batch))
        return self._backend.execute(batch)

    def close(self) -> None:
        """The backend is its owner's to close."""
