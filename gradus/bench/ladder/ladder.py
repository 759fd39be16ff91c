"""`gradus bench ladder`: the same workload on every rung, in turns, and what each layer costs.

Knows rungs by what they give; which there are is said by `rungs.py`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.ladder.base import Ground, Rung
from gradus.bench.ladder.checks import RungRuns, verification
from gradus.bench.ladder.peer import WAVES, LlamaCpp, PeerChoice
from gradus.bench.ladder.recording import record
from gradus.bench.ladder.requests import LadderRequest, RequestMaker
from gradus.bench.ladder.rungs import RUNGS, RungEntry
from gradus.bench.rounds import Figures, Report, Rounds, Side, take_turns
from gradus.bench.workloads.base import Workload
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.machine import available_cpus
from gradus.runtime import load_runtime
from gradus.server.run import SWITCH_INTERVAL

METHOD = (
    "One process holds the model, all rungs and the server; they take turns, round by round. A round's "
    "requests are the same on every rung, others in every round: greedy, past the end of the sequence, "
    "prompts of words drawn at random, with a stop string that never comes, prefix caching off. Rungs 0 "
    "and 1 repeat the steps that were recorded of a round in static batches; rungs 2 and 3 run static "
    "batches, those above a closed loop; where requests differ in length, their numbers of steps differ. "
    "Rungs 7 to 9 are asked by a client in a process of its own, with the prompts' text. "
    "tokens_per_second: output tokens of all requests over the time from the first's start to the last's "
    "end. cpu_seconds_per_step: of the process that holds the model, all threads. A loss is 1 - the ratio "
    "of tokens_per_second, the median over rounds; its interval is a bootstrap. The first round, of as "
    "many requests as run at a time, is left out. The outside reference takes its turns in the same rounds, "
    f"with the first requests of each, {WAVES} times as many as run at a time."
)


class Ladder:
    """Rungs over one loaded model. A context manager: what the rungs have started ends with it."""

    def __init__(
        self, config: EngineConfig, workload: Workload, entries: Sequence[RungEntry] = RUNGS
    ) -> None:
        """Load the model, record a round, and make the rungs.

        Raises:
            ModelError, ConfigError: the model cannot be loaded, or the workload is none for a ladder.
        """
        self.config = replace(config, enable_prefix_caching=False)
        self.workload = workload
        self.rungs: dict[RungEntry, Rung] = {}
        with ExitStack() as stack:
            stack.enter_context(_server_switch_interval())
            self.runtime = load_runtime(self.config)
            stack.callback(self.runtime.close)
            scheduler = self.config.scheduler(self.runtime.cache.max_model_len)
            self._maker = RequestMaker(self.runtime, workload)
            self.first_requests = self._maker.requests(0)
            at_once = workload.concurrency or len(self.first_requests)
            self.concurrency = min(at_once, len(self.first_requests), scheduler.max_num_seqs)
            recording = record(self.runtime.backend, scheduler, self.first_requests, self.concurrency)
            self.ground = Ground(self.runtime, scheduler, recording)
            stack.callback(self.ground.close)
            for entry in entries:
                self.rungs[entry] = entry.make(self.ground)
                stack.callback(self.rungs[entry].close)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Ladder":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def num_threads(self) -> int:
        return self.config.num_threads or available_cpus()

    def requests(self, round_index: int) -> list[LadderRequest]:
        """A round's; of the first, which warms up, no more than run at a time."""
        return self._maker.requests(round_index) if round_index else self.first_requests[: self.concurrency]


@dataclass(slots=True)
class _Measuring:
    """Runs rungs and keeps what they gave."""

    ladder: Ladder
    runs: dict[RungEntry, RungRuns] = field(default_factory=dict)

    def side(self, entry: RungEntry, rung: Rung) -> Side:
        kept = self.runs[entry] = RungRuns()

        def run(round_index: int) -> Figures:
            requests = self.ladder.requests(round_index)
            kept.add(rung.run(requests, self.ladder.concurrency), requests)
            return kept.last.figures()

        return Side(entry.label, run)


def bench_ladder(
    config: EngineConfig,
    workload: Workload,
    num_runs: int,
    report: Report,
    *,
    entries: Sequence[RungEntry] = RUNGS,
    peer: PeerChoice | None = None,
) -> dict[str, Any]:
    """Measure; `report` gets the name of each run. Returns the evidence.

    peer: llama.cpp beside the rungs, in the same turns.

    Raises:
        ModelError, ConfigError: the model cannot be loaded, or the workload is none for a ladder.
        RequestFailedError, PeerError: a rung or the peer failed.
    """
    with Ladder(config, workload, entries) as ladder:
        if peer is None:
            return measure(ladder, num_runs, report)
        with _opened(peer, ladder) as llama:
            return measure(ladder, num_runs, report, llama)


def measure(ladder: Ladder, num_runs: int, report: Report, peer: LlamaCpp | None = None) -> dict[str, Any]:
    """As `bench_ladder`, on a ladder that stands already."""
    measuring = _Measuring(ladder)
    sides = [measuring.side(entry, rung) for entry, rung in ladder.rungs.items()]
    if peer is not None:
        sides.append(Side(peer.name, lambda index: peer.run(ladder.requests(index), ladder.concurrency)))
    rounds = take_turns(sides, num_runs, report)
    return _evidence(ladder, measuring.runs, rounds, peer)


@contextmanager
def _opened(peer: PeerChoice, ladder: Ladder) -> Iterator[LlamaCpp]:
    with TemporaryDirectory(prefix="gradus-ladder-") as folder:
        weights = peer.find_weights(ladder.config, Path(folder))
        context = max(request.context for request in ladder.first_requests)
        llama = LlamaCpp(peer.python, weights, ladder.num_threads, ladder.concurrency, context)
        try:
            yield llama
        finally:
            llama.close()


@contextmanager
def _server_switch_interval() -> Iterator[None]:
    """As `gradus serve` sets it for its process."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _evidence(
    ladder: Ladder, runs: Mapping[RungEntry, RungRuns], rounds: Rounds, peer: LlamaCpp | None
) -> dict[str, Any]:
    runtime, config = ladder.runtime, ladder.config
    results: dict[str, Any] = {"rungs": rung_results(list(runs), rounds)}
    if peer is not None:
        results["reference"] = {
            "name": peer.name,
            **rounds.summary(peer.name),
            **_ratios_to(peer.name, rounds),
        }
    return evidence(
        "ladder",
        software={"backend": config.backend, "peer": None if peer is None else dict(peer.software)},
        model={
            "name": runtime.source.name,
            "architecture": runtime.source.config.architecture,
            "weight_dtype": weight_dtype(config, runtime.source.config),
            "weight_bytes": runtime.weight_bytes,
            "kv_cache_dtype": runtime.cache.dtype,
        },
        parameters={
            **engine_parameters(config),
            "num_threads": ladder.num_threads,
            "workload": ladder.workload.as_dict(),
            "concurrency": ladder.concurrency,
            "num_runs": len(rounds.runs()) // len(rounds.figures),
        },
        method=METHOD,
        results=results,
        runs=rounds.runs(),
        verification={
            **verification(runs, ladder.ground.recording),
            "repeats": rounds.repeats("tokens_per_second"),
        },
    )


def _ratios_to(peer: str, rounds: Rounds) -> dict[str, Any]:
    """How much faster each rung is than the reference."""
    labels = [label for label in rounds.figures if label != peer]
    ratios = {
        label: rounds.ratio("tokens_per_second", label, peer, lower_is_better=False) for label in labels
    }
    return {"rungs_over_it": {label: ratio.as_dict() for label, ratio in ratios.items()}}


def rung_results(entries: Sequence[RungEntry], rounds: Rounds) -> list[dict[str, Any]]:
    """A rung's figures and losses, from the bottom to the top; of the lowest there is no loss."""
    found = []
    for below, entry in zip([None, *entries], entries, strict=False):
        rung: dict[str, Any] = {"number": entry.number, "name": entry.name, "adds": entry.adds}
        rung |= rounds.summary(entry.label)
        if below is not None:
            rung["loss_to_rung_0"] = _loss(entry, entries[0], rounds)
            rung["loss_to_rung_below"] = _loss(entry, below, rounds)
            rung["rung_below"] = below.name
        found.append(rung)
    return found


def _loss(entry: RungEntry, base: RungEntry, rounds: Rounds) -> dict[str, Any]:
    """The share of the base's tokens per second that is gone; below 0: it is faster."""
    ratio = rounds.ratio("tokens_per_second", entry.label, base.label, lower_is_better=False).as_dict()
    interval = ratio.get("interval_95")
    loss = {"median": 1 - ratio["median"]}
    return loss if interval is None else {**loss, "interval_95": [1 - interval[1], 1 - interval[0]]}
