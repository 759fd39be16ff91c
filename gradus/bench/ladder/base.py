"""What a rung is, what it is given and what it gives. Knows no rung."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gradus.batch import Backend
from gradus.bench.ladder.recording import Recording
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.config import SchedulerConfig
from gradus.engine.core import EngineCore
from gradus.runtime import Runtime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RungRun:
    """A workload on a rung.

    Attributes:
        cpu_seconds: of this process, all its threads.
        num_steps: calls of the model.
        num_counted_tokens: generated, by the count of the layer that runs the steps.
        outputs: of requests, in their order; of replayed steps, in theirs.
    """

    seconds: float
    cpu_seconds: float
    num_steps: int
    num_counted_tokens: int
    outputs: list[Output]

    @property
    def num_tokens(self) -> int:
        return sum(output.num_tokens for output in self.outputs)

    def figures(self) -> dict[str, float]:
        return {
            "tokens_per_second": self.num_tokens / self.seconds,
            "seconds_per_step": self.seconds / self.num_steps,
            "cpu_seconds_per_step": self.cpu_seconds / self.num_steps,
            "num_steps": self.num_steps,
        }


@dataclass(slots=True)
class Stopwatch:
    """Seconds of a block, by the clock and of this process's CPUs."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start, cpu_start = time.perf_counter(), time.process_time()
        yield
        self.seconds, self.cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start


@dataclass(slots=True)
class Ground:
    """What all rungs stand on: a loaded model.

    Each rung that has a block pool counts the blocks its own way,
    which works because one rung runs at a time and nothing is kept between requests.

    Attributes:
        scheduler: prefix caching off.
        recording: the steps of a whole round, in static batches.
    """

    runtime: Runtime
    scheduler: SchedulerConfig
    recording: Recording
    _shared: dict[str, Any] = field(default_factory=dict)

    @property
    def backend(self) -> Backend:
        return self.runtime.backend

    def share(self, name: str, make: Callable[[], T]) -> T:
        """What several rungs use; the first of them makes it. Closed with the ground."""
        if name not in self._shared:
            self._shared[name] = make()
        return self._shared[name]

    def close(self) -> None:
        """Close what is shared, the last first."""
        for shared in reversed(self._shared.values()):
            shared.close()
        self._shared.clear()

    def new_core(self) -> EngineCore:
        return EngineCore(self.backend, self.scheduler)


class Rung(ABC):
    """A layer and all below it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    @abstractmethod
    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        """Run requests, so many at a time: as soon as one ends, the next begins, if the layer can do that."""

    def close(self) -> None:
        """End what it has started."""
        return
