"""Rungs 0 and 1: recorded steps once more, on the recorded token ids.

Rung 0 runs their kernels and nothing else; rung 1 hands each batch to `Backend.execute`. What they choose
must be what was chosen then.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence

from gradus.batch import Batch, Int32
from gradus.bench.ladder.base import Rung, RungRun, Stopwatch
from gradus.bench.ladder.recording import Replayable, step_output
from gradus.bench.ladder.requests import LadderRequest


class ReplayRung(Rung):
    """The recording, whatever the requests; its outputs are those of steps, in order."""

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        calls, watch = self._calls(), Stopwatch()
        with watch.running():
            chosen = [call() for call in calls]
        outputs = [step_output(token_ids) for token_ids in chosen]
        num_tokens = sum(output.num_tokens for output in outputs)
        return RungRun(watch.seconds, watch.cpu_seconds, len(calls), num_tokens, outputs)

    @abstractmethod
    def _calls(self) -> list[Callable[[], Int32]]:
        """A call for each step; what is done before it is not measured."""


class KernelsRung(ReplayRung):
    """Rung 0: no batch is looked at any more."""

    def _calls(self) -> list[Callable[[], Int32]]:
        backend = self.ground.backend
        assert isinstance(backend, Replayable)
        return [backend.replay_of(step.batch) for step in self.ground.recording.steps]


class BackendRung(ReplayRung):
    """Rung 1: with the backend's checks, its copies of arrays, and its result."""

    def _calls(self) -> list[Callable[[], Int32]]:
        backend = self.ground.backend

        def call_of(batch: Batch) -> Callable[[], Int32]:
            return lambda: backend.execute(batch).token_ids

        return [call_of(step.batch) for step in self.ground.recording.steps]
