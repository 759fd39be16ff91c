"""`gradus bench throughput`: a workload on the engine in this process, without a network in between."""

from typing import Any

from gradus.bench.engine_runs import EngineRuns, Report, run_workload
from gradus.bench.evidence import evidence
from gradus.bench.goodput import Objectives, goodput
from gradus.bench.statistics import spread
from gradus.bench.workloads.base import Workload
from gradus.config import EngineConfig

METHOD = (
    "The engine in process, through the input processor and the engine's public methods: greedy, past the "
    "end of the sequence. A closed loop, or an open one where requests arrive at times. Every run begins "
    "with an empty prefix cache; where it is on, hits are those within a run. Times are taken when a step "
    "returns. One run is left out. Steps are told apart by the engine's counters: prefill steps compute "
    "prompt tokens only, decode steps none, mixed steps both. The formulas of all figures are in "
    "docs/metrics.md."
)

HEADLINES = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")


def bench_throughput(
    config: EngineConfig,
    workload: Workload,
    num_runs: int,
    on_run: Report,
    *,
    objectives: Objectives | None = None,
    with_utilization: bool = False,
) -> dict[str, Any]:
    """Measure; `on_run` gets each run. Returns the evidence.

    objectives: for goodput, in seconds; None: there is no such figure.
    with_utilization: measure this machine's ceilings first; not of the torch backend.

    Raises:
        ModelError, ConfigError: the model cannot be loaded.
        InvalidRequestError: the workload does not fit into the context.
    """
    found = run_workload(config, workload, on_run, num_runs=num_runs, with_utilization=with_utilization)
    return evidence(
        "throughput",
        software=found.software(),
        model=found.model(),
        parameters={**found.parameters(), "goodput_seconds": dict(objectives) if objectives else None},
        method=METHOD,
        results={
            **found.summary(),
            "good_requests_per_second": _goodput(found, objectives),
            **found.results(),
        },
        runs=found.runs_as_dicts(),
        verification=found.verification(HEADLINES),
    )


def _goodput(found: EngineRuns, objectives: Objectives | None) -> dict[str, float] | None:
    return spread([goodput(driven.run, objectives) for driven in found.runs]) if objectives else None
