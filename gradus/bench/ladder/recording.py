"""Recording the steps of a workload, to run them again without whoever made them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gradus.batch import Backend, Batch, Int32, StepResult
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.bench.ladder.static_runner import StaticRunner, fixed_blocks
from gradus.config import SchedulerConfig
from gradus.errors import ConfigError


@runtime_checkable
class Replayable(Protocol):
    """A backend that can run a step's kernels without its own Python around them."""

    def replay_of(self, batch: Batch) -> Callable[[], Int32]:
        """A function that runs the step once more; it gives the chosen tokens, [num_outputs, k]."""


@dataclass(slots=True)
class RecordedStep:
    """A batch as the backend got it, and the tokens it chose, [num_outputs, k]."""

    batch: Batch
    token_ids: Int32


class Recorder:
    """Implements `Backend` in front of another one: keeps every step."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.block_size, self.num_blocks = backend.block_size, backend.num_blocks
        self.vocab_size = backend.vocab_size
        self.steps: list[RecordedStep] = []

    def execute(self, batch: Batch) -> StepResult:
        result = self._backend.execute(batch)
        self.steps.append(RecordedStep(batch, result.token_ids))
        return result

    def close(self) -> None:
        """The backend is its owner's to close."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The steps of a workload, and what each request got."""

    steps: list[RecordedStep]
    outputs: list[Output]


def record(
    backend: Backend, config: SchedulerConfig, requests: Sequence[LadderRequest], concurrency: int
) -> Recording:
    """Run requests in static batches and keep the steps.

    Raises:
        ConfigError: the KV cache is too small, or the backend's kernels cannot be run alone.
    """
    if not isinstance(backend, Replayable):
        raise ConfigError(
            "the ladder begins with the kernels of the native backend's program; this backend has none, so "
            "leave --backend at native"
        )
    recorder = Recorder(backend)
    blocks = fixed_blocks(backend, requests, concurrency)
    token_ids = StaticRunner(recorder, config, concurrency, blocks).run(requests)
    return Recording(recorder.steps, [Output(len(ids), ids) for ids in token_ids])


def step_output(token_ids: Int32) -> Output:
    """What a step chose, for all its output rows."""
    chosen = token_ids[:, 0].tolist()
    return Output(len(chosen), chosen)
