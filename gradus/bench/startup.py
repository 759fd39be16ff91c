"""`gradus bench startup`: from the start of a process to ready, and to the first token.

In process, as `LLM()` loads, and over HTTP, as `gradus serve` does; each as a first start, whose folder of
packed weights is empty, and as the start after it.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.peers.endpoint import ServerEndpoint
from gradus.bench.rounds import Figures, Report, Rounds, Side, take_turns
from gradus.bench.serve_command import serve_command
from gradus.bench.workers import WorkerProcess
from gradus.bench.workloads.base import WorkloadRequest
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.models.outline import outline_model

METHOD = (
    "A fresh process for every run; the kinds of start take turns, a first round is left out. A first start "
    "has an empty cache folder of its own ($GRADUS_CACHE): it reads the checkpoint, packs the weights and "
    "writes them there; random weights in a published shape (dummy:NAME) are drawn, not read. The cached "
    "start after it maps them. The checkpoint's files, the libraries and the interpreter are in the page "
    "cache either way; the first start after the machine's own takes longer. In process: ready is when the "
    "engine is loaded; the phases from source on are the product's own times. Served: ready is when /health "
    "answers. Then one request of 8 prompt tokens is sent; first_token is the time to ready and its TTFT."
)
REQUEST = FixedWorkload(name="startup", num_requests=1, concurrency=1, input_len=8, output_len=1)
FIGURES = ("ready_seconds", "first_token_seconds")
IN_PROCESS, SERVED = KINDS = ("in process", "served")
FIRST, CACHED = "first start", "cached start"


@dataclass(frozen=True, slots=True)
class Started:
    """One start, in seconds from the process's own.

    Attributes:
        phases: what `ready` consists of, in their order; empty where it is not known.
        is_mapped: whether the weights were mapped from the cache folder; None where it is not known.
    """

    ready: float
    first_token: float
    num_output_tokens: int
    phases: Mapping[str, float] = field(default_factory=dict)
    is_mapped: bool | None = None

    def figures(self) -> dict[str, float]:
        phases = {f"{name}_seconds": seconds for name, seconds in self.phases.items()}
        return {**phases, "ready_seconds": self.ready, "first_token_seconds": self.first_token}


Start = Callable[[Mapping[str, str], WorkloadRequest], Started]
"""Starts a process with these environment variables, and sends it a request."""


def start_in_process(config: EngineConfig) -> Start:
    """An engine that a Python program loads, as `LLM()` does."""

    def start(environment: Mapping[str, str], request: WorkloadRequest) -> Started:
        worker = WorkerProcess(config, environment=environment)
        try:
            ran = worker.run([request], 1).run
        finally:
            worker.close()
        loaded = worker.loaded
        ready = loaded["loaded"] - worker.started
        phases = {
            "interpreter": loaded["running"] - worker.started,
            "imports": loaded["imported"] - loaded["running"],
            **loaded["load_seconds"],
        }
        phases["other"] = ready - sum(phases.values())
        first_token = ready + ran.requests[0].ttft
        return Started(ready, first_token, ran.num_output_tokens, phases, loaded["weights_are_mapped"])

    return start


def start_server(config: EngineConfig) -> Start:
    """`gradus serve`."""

    def start(environment: Mapping[str, str], request: WorkloadRequest) -> Started:
        server = ServerEndpoint(serve_command(config), {}, environment)
        try:
            run = server.run([list(request.prompt)], REQUEST.output_len, 1)
        finally:
            server.close()
        ready = server.ready - server.started
        return Started(ready, ready + run.requests[0].ttft, run.num_output_tokens)

    return start


@dataclass(slots=True)
class Checks:
    """What the starts told besides their times; all true so far."""

    every_token: bool = True
    first_starts_packed: bool = True
    cached_starts_packed_nothing: bool = True
    phases_add_up: bool = True

    def note(
        self, started: Started, is_first: bool, before: Mapping[str, int], after: Mapping[str, int]
    ) -> None:
        """`before` and `after`: the packed files in the folder, as `packed_files` says."""
        self.every_token &= started.num_output_tokens == REQUEST.output_len
        self.phases_add_up &= started.phases.get("other", 0.0) >= 0 and started.first_token > started.ready
        if is_first:
            self.first_starts_packed &= not before and bool(after) and started.is_mapped is not True
        else:
            found_all = bool(before) and before == after
            self.cached_starts_packed_nothing &= found_all and started.is_mapped is not False


def bench_startup(config: EngineConfig, num_runs: int, report: Report) -> dict[str, Any]:
    """Measure every kind of start `num_runs` times. Returns the evidence.

    Raises:
        ModelError, ConfigError: there is no such model, or its packed weights are not to be cached.
        PeerError: the model cannot be loaded.
    """
    if not config.packed_cache:
        raise ConfigError("packed_cache is off, but starts with and without it are what is measured")
    starts = {IN_PROCESS: start_in_process(config), SERVED: start_server(config)}
    vocab_size = outline_model(config.model).config.vocab_size
    checks, rounds = measure(starts, vocab_size, num_runs, report)
    return _evidence(config, num_runs, rounds, checks)


def measure(
    starts: Mapping[str, Start], vocab_size: int, num_runs: int, report: Report
) -> tuple[Checks, Rounds]:
    """Rounds of first and cached starts of every kind."""
    checks = Checks()
    with ExitStack() as stack:
        sides = []
        for name, start in starts.items():
            folder = stack.enter_context(TemporaryDirectory(prefix="gradus-startup-"))
            sides += _sides(name, start, Path(folder), vocab_size, checks)
        return checks, take_turns(sides, num_runs, report, alternates=False)


def _sides(name: str, start: Start, folder: Path, vocab_size: int, checks: Checks) -> list[Side]:
    """The first start of a round makes the round's cache folder, the cached start finds it."""

    def run(index: int, is_first: bool) -> Figures:
        cache = folder / str(index)
        before = packed_files(cache)
        started = start({"GRADUS_CACHE": str(cache)}, REQUEST.requests(vocab_size, index)[0])
        checks.note(started, is_first, before, packed_files(cache))
        if not is_first:
            rmtree(cache, ignore_errors=True)
        return started.figures()

    return [
        Side(f"{name}, {FIRST}", lambda index: run(index, True)),
        Side(f"{name}, {CACHED}", lambda index: run(index, False)),
    ]


def packed_files(cache: Path) -> dict[str, int]:
    """The packed weights in a cache folder and their inodes: a file that is written again has another."""
    return {path.name: path.stat().st_ino for path in cache.glob("packed/*.gradus")}


def _evidence(config: EngineConfig, num_runs: int, rounds: Rounds, checks: Checks) -> dict[str, Any]:
    gains = {
        kind: {
            figure: rounds.ratio(
                figure, f"{kind}, {CACHED}", f"{kind}, {FIRST}", lower_is_better=True
            ).as_dict()
            for figure in FIGURES
        }
        for kind in KINDS
    }
    return evidence(
        "startup",
        software={"backend": config.backend},
        model={"name": config.model},
        parameters={**engine_parameters(config), "request": REQUEST.as_dict(), "num_runs": num_runs},
        method=METHOD,
        results={
            "starts": {name: rounds.summary(name) for name in rounds.figures},
            "cached_over_first": gains,
        },
        runs=rounds.runs(),
        verification={
            "every_start_gave_its_token": checks.every_token,
            "first_starts_packed_and_wrote": checks.first_starts_packed,
            "cached_starts_packed_nothing": checks.cached_starts_packed_nothing,
            "phases_add_up": checks.phases_add_up,
            "repeats": rounds.repeats(*FIGURES),
        },
    )
