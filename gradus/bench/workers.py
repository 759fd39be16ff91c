"""Engines that benches measure side by side: each a `Worker`, today a process with some CPUs.

A worker on another device is one more implementation: what runs workloads on workers does not change.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from gradus.bench.child_process import ChildProcess, own_command
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workloads.base import WorkloadRequest
from gradus.config import EngineConfig
from gradus.errors import ConfigError, GradusError


@dataclass(frozen=True, slots=True)
class WorkerRun:
    """What a worker did with its requests.

    Attributes:
        began: by `time.perf_counter`, which all processes of a machine share; the run's times count from it.
        token_ids: per request.
        num_generated_tokens: by the engine's count.
        details: what else the worker says: its engine's counters, its memory.
    """

    began: float
    run: Run
    token_ids: list[list[int]]
    num_generated_tokens: int
    details: Mapping[str, Any]


class Worker(Protocol):
    """A loaded engine that runs requests of one output length."""

    def run(self, requests: Sequence[WorkloadRequest], concurrency: int) -> WorkerRun:
        """Run requests, so many at a time.

        Raises:
            PeerError: it failed.
        """

    def close(self) -> None:
        """Free what it holds."""


class WorkerProcess:
    """Implements `Worker` with an engine in a process of its own, stopped while it has nothing to do.

    `cpus` are those that it may run on; None: all. `environment` are variables beside those of this process.
    `loaded` is what loading told: see `gradus.bench.engine_worker`.

    Raises:
        PeerError: the model cannot be loaded.
    """

    def __init__(
        self,
        config: EngineConfig,
        cpus: Sequence[int] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = own_command("gradus.bench.engine_worker")
        self._process = ChildProcess(command, has_pipes=True, environment=environment)
        self.started = self._process.started
        try:
            load = {"config": asdict(config), "cpus": None if cpus is None else list(cpus)}
            self.loaded: Mapping[str, Any] = self._process.ask({"command": "load", **load})
        except BaseException:
            self.close()
            raise
        self._process.stop()

    def run(self, requests: Sequence[WorkloadRequest], concurrency: int) -> WorkerRun:
        lengths = {request.output_len for request in requests}
        if len(lengths) != 1:
            raise ConfigError(
                f"requests of {sorted(lengths)} output tokens; a worker runs those of one length"
            )
        work = {"prompts": [list(request.prompt) for request in requests], "output_len": lengths.pop()}
        with self._process.awake():
            answer = self._process.ask({"command": "run", **work, "concurrency": concurrency})
        timings = tuple(RequestTiming.from_dict(request) for request in answer.pop("requests"))
        return WorkerRun(
            answer.pop("began"),
            Run(timings),
            answer.pop("token_ids"),
            answer.pop("num_generated_tokens"),
            answer,
        )

    def close(self) -> None:
        self._process.close()


def run_together(
    workers: Sequence[Worker], shares: Sequence[Sequence[WorkloadRequest]], concurrency: Sequence[int]
) -> list[WorkerRun]:
    """Every worker runs its share at the same time.

    Raises:
        PeerError: one of them failed; the others have ended too.
    """
    runs: dict[int, WorkerRun] = {}
    failures: list[GradusError] = []

    def work(index: int) -> None:
        try:
            runs[index] = workers[index].run(shares[index], concurrency[index])
        except GradusError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [runs[index] for index in range(len(workers))]


def wall_seconds(runs: Sequence[WorkerRun]) -> float:
    """From the first start of a request of any worker to the last end."""
    starts = [run.began + request.start for run in runs for request in run.run.requests]
    ends = [run.began + request.end for run in runs for request in run.run.requests]
    return max(ends) - min(starts)
