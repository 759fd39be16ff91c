"""`gradus bench latency`: how long one batch takes, from its requests' start to its last token.

The shape of `vllm bench latency`: all requests of an iteration begin together and have the same lengths.
"""

from typing import Any

import numpy as np

from gradus.bench.engine_runs import Report, run_workload
from gradus.bench.evidence import evidence
from gradus.bench.statistics import spread
from gradus.bench.timings import percentiles
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig

METHOD = (
    "Iterations on the engine in process, one after another: a batch of requests of one length begins at "
    "once and ends with its last token; greedy, past the end of the sequence, prompts of random token ids, "
    "others in every iteration. latency_seconds is from the first request's start to the last one's end. "
    "Warm-ups are left out. The formulas of all figures are in docs/metrics.md."
)

PERCENTILES = (10, 25, 50, 75, 90, 99)
HEADLINES = ("ttft_seconds", "tpot_seconds")


def bench_latency(
    config: EngineConfig,
    *,
    batch_size: int,
    input_len: int,
    output_len: int,
    num_iters: int,
    num_warm_ups: int,
    on_run: Report,
) -> dict[str, Any]:
    """Measure; `on_run` gets each iteration. Returns the evidence.

    Raises:
        ModelError, ConfigError: the model cannot be loaded, or a number is too small.
        InvalidRequestError: the lengths do not fit into the context.
    """
    workload = FixedWorkload(
        name="latency",
        num_requests=batch_size,
        concurrency=batch_size,
        input_len=input_len,
        output_len=output_len,
    )
    found = run_workload(config, workload, on_run, num_runs=num_iters, num_warm_ups=num_warm_ups)
    seconds = [driven.run.seconds for driven in found.runs]
    summary = found.summary()
    names = ("ttft_seconds", "tpot_seconds", "output_tokens_per_second")
    return evidence(
        "latency",
        software=found.software(),
        model=found.model(),
        parameters={**found.parameters(), "batch_size": batch_size, "num_warm_ups": num_warm_ups},
        method=METHOD,
        results={
            "latency_seconds": spread(seconds),
            "mean_latency_seconds": float(np.mean(seconds)),
            **{name: summary[name] for name in names if name in summary},
            **found.results(),
            "percentiles": {
                "latency_seconds": percentiles(seconds, PERCENTILES),
                **found.results()["percentiles"],
            },
        },
        runs=found.runs_as_dicts(),
        verification=found.verification(HEADLINES, latency_seconds=seconds),
    )
