"""`gradus bench scaling`: how speed grows with threads and with worker processes.

Strong scaling: the same requests on more CPUs. Weak scaling: so many times the requests on so many times the
CPUs. Knows workers only by their protocol.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.rounds import Figures, Report, Rounds, Side, take_turns
from gradus.bench.workers import Worker, WorkerProcess, WorkerRun, run_together, wall_seconds
from gradus.bench.workloads.base import WorkloadRequest
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.machine import available_cpus

METHOD = (
    "Every engine is a process held to its own CPUs: n threads on n CPUs, or n workers of one thread and "
    "one CPU each. Sides take turns, a first round is left out, processes are stopped while others run. "
    "Prompts are random token ids, others in every request and round; greedy, past the end of the sequence, "
    "prefix caching off. Strong: the same requests for every number; workers share them. Weak: n times the "
    "requests, n times as many at a time. Tokens per second are output tokens of all workers from the first "
    "request's start to the last one's end. Speedup is over one thread on one CPU, efficiency that over n; "
    "medians of the rounds' ratios and the 95 % interval of a bootstrap over rounds."
)
FIGURE = "output_tokens_per_second"


@dataclass(frozen=True, slots=True)
class Scale:
    """One side: `count` CPUs as threads of one worker or as workers of one thread; how the work grows."""

    unit: str  # threads | workers
    count: int
    is_weak: bool

    @property
    def name(self) -> str:
        unit = self.unit if self.count > 1 else self.unit.removesuffix("s")
        return f"{self.count} {unit}" + (f", {self.count} x the work" if self.is_weak else "")

    @property
    def num_workers(self) -> int:
        return self.count if self.unit == "workers" else 1

    @property
    def num_threads(self) -> int:
        return self.count if self.unit == "threads" else 1


BASE = Scale("threads", 1, False)

MakeWorkers = Callable[[Scale], list[Worker]]
"""The workers of a side; those of its weak and its strong form may be the same."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a side does in one round: each worker's requests, and how many it runs at a time."""

    shares: list[list[WorkloadRequest]]
    concurrency: list[int]

    @staticmethod
    def of(workload: FixedWorkload, scale: Scale, vocab_size: int, index: int) -> "Work":
        """The first requests are those of the base, whatever the scale."""
        copies = scale.count if scale.is_weak else 1
        requests = [
            request
            for copy in range(copies)
            for request in workload.requests(vocab_size, index + copy * _COPY_ROUNDS)
        ]
        workers, at_a_time = scale.num_workers, workload.concurrency * copies
        return Work(
            [requests[worker::workers] for worker in range(workers)],
            [len(range(worker, at_a_time, workers)) for worker in range(workers)],
        )


_COPY_ROUNDS = 1_000_000  # rounds apart, so that copies have prompts of their own


@dataclass(slots=True)
class Checks:
    """What the runs told besides their times."""

    tokens: dict[tuple[int, str], list[list[int]]] = field(default_factory=dict)  # of the base's requests
    every_token: bool = True
    engines_agree: bool = True

    def note(self, scale: Scale, index: int, workload: FixedWorkload, runs: Sequence[WorkerRun]) -> None:
        """Put the workers' shares together again, and compare counts with what was asked and counted."""
        count = workload.num_requests * (scale.count if scale.is_weak else 1)
        tokens = [runs[i % len(runs)].token_ids[i // len(runs)] for i in range(count)]
        self.tokens[index, scale.name] = tokens[: workload.num_requests]
        self.every_token &= all(len(ids) == workload.output_len for ids in tokens)
        self.engines_agree &= sum(run.num_generated_tokens for run in runs) == sum(map(len, tokens))

    @property
    def same_tokens(self) -> bool:
        return all(ids == self.tokens[index, BASE.name] for (index, _), ids in self.tokens.items())


def scales(counts: Sequence[int], workload: FixedWorkload) -> list[Scale]:
    """The base, then strong and weak of every greater number, over threads and over workers.

    Raises:
        ConfigError: more than there are CPUs, or work that so many workers cannot share.
    """
    cpus = available_cpus()
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("scaling needs a system that can hold a process to some CPUs, such as Linux")
    for count in counts:
        if count > cpus:
            raise ConfigError(
                f"counts has {count}, but this process may use {cpus} CPUs; name {cpus} at most"
            )
        if count > min(workload.concurrency, workload.num_requests):
            raise ConfigError(
                f"{count} workers cannot share {workload.num_requests} requests of which "
                f"{workload.concurrency} run at a time; raise both to {count} or lower counts"
            )
    return [
        BASE,
        *(
            Scale(unit, count, is_weak)
            for unit in ("threads", "workers")
            for is_weak in (False, True)
            for count in sorted(set(counts) - {1})
        ),
    ]


def default_counts() -> list[int]:
    """Powers of two up to the CPUs, and all of them."""
    cpus = available_cpus()
    return sorted({1 << power for power in range(cpus.bit_length()) if 1 << power <= cpus} | {cpus})


def bench_scaling(
    config: EngineConfig, workload: FixedWorkload, counts: Sequence[int], num_runs: int, report: Report
) -> dict[str, Any]:
    """Measure with processes on this machine's CPUs. Returns the evidence.

    Raises:
        ConfigError: numbers that cannot be measured here.
        PeerError: the model cannot be loaded, or the workload does not fit into its context.
    """
    config = replace(config, enable_prefix_caching=False)
    sides = scales(counts, workload)
    with ExitStack() as stack:
        processes = _Processes(config, stack)
        checks, rounds = measure(sides, workload, processes.workers, processes.vocab_size, num_runs, report)
        return _evidence(config, workload, sides, rounds, checks, processes.kernels)


def measure(
    sides: Sequence[Scale],
    workload: FixedWorkload,
    workers_of: MakeWorkers,
    vocab_size: int,
    num_runs: int,
    report: Report,
) -> tuple[Checks, Rounds]:
    """Rounds on any workers."""
    checks = Checks()

    def side(scale: Scale) -> Side:
        workers = workers_of(scale)

        def run(index: int) -> Figures:
            work = Work.of(workload, scale, vocab_size, index)
            runs = run_together(workers, work.shares, work.concurrency)
            checks.note(scale, index, workload, runs)
            seconds = wall_seconds(runs)
            num_tokens = sum(run.run.num_output_tokens for run in runs)
            return {"seconds": seconds, "num_output_tokens": num_tokens, FIGURE: num_tokens / seconds}

        return Side(scale.name, run)

    rounds = take_turns([side(scale) for scale in sides], num_runs, report)
    return checks, rounds


class _Processes:
    """Worker processes by their CPUs, each started once."""

    def __init__(self, config: EngineConfig, stack: ExitStack) -> None:
        self._config = config
        self._stack = stack
        self._by_cpus: dict[tuple[int, ...], WorkerProcess] = {}
        loaded = self._worker((self._cpus()[0],)).loaded
        self.vocab_size: int = loaded["vocab_size"]
        self.kernels: str | None = loaded["kernels"]

    def workers(self, scale: Scale) -> list[Worker]:
        cpus, each = self._cpus(), scale.num_threads
        return [
            self._worker(tuple(cpus[worker * each : (worker + 1) * each]))
            for worker in range(scale.num_workers)
        ]

    def _worker(self, cpus: tuple[int, ...]) -> WorkerProcess:
        if cpus not in self._by_cpus:
            worker = WorkerProcess(replace(self._config, num_threads=len(cpus)), cpus)
            self._stack.callback(worker.close)
            self._by_cpus[cpus] = worker
        return self._by_cpus[cpus]

    @staticmethod
    def _cpus() -> list[int]:
        return sorted(os.sched_getaffinity(0))


def _evidence(
    config: EngineConfig,
    workload: FixedWorkload,
    sides: Sequence[Scale],
    rounds: Rounds,
    checks: Checks,
    kernels: str | None,
) -> dict[str, Any]:
    return evidence(
        "scaling",
        software={"backend": config.backend, "kernels": kernels},
        model={"name": config.model},
        parameters={
            **engine_parameters(config),
            "counts": sorted({side.count for side in sides}),
            "workload": workload.as_dict(),
            "num_runs": max(len(found) for found in rounds.figures.values()),
        },
        method=METHOD,
        results={side.name: _result(side, rounds) for side in sides},
        runs=rounds.runs(),
        verification={
            "every_request_gave_all_tokens": checks.every_token,
            "the_engines_counted_the_same_output_tokens": checks.engines_agree,
            "every_number_of_threads_and_workers_gave_the_same_tokens": checks.same_tokens,
            "repeats": rounds.repeats(FIGURE),
        },
    )


def _result(side: Scale, rounds: Rounds) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "weak" if side.is_weak else "strong",
        "num_workers": side.num_workers,
        "threads_per_worker": side.num_threads,
        **rounds.summary(side.name),
    }
    if side == BASE:
        return found
    speedup = rounds.ratio(FIGURE, side.name, BASE.name, lower_is_better=False)
    efficiency: dict[str, Any] = {"median": speedup.median / side.count}
    interval = speedup.as_dict().get("interval_95")
    if interval is not None:
        efficiency["interval_95"] = [bound / side.count for bound in interval]
    return {**found, "speedup": speedup.as_dict(), "efficiency": efficiency}
