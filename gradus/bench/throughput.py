"""`gradus bench throughput`: a workload on the engine in this process, without a network in between."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradus.bench.engine_driver import DrivenRun, EngineDriver, StepAccount
from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.statistics import repeats, spread
from gradus.bench.timings import latencies
from gradus.bench.workloads.base import Workload
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.machine import available_cpus
from gradus.runtime import Runtime, load_runtime

METHOD = (
    "A closed loop on the engine in process, through the input processor and the engine's public methods: "
    "greedy, past the end of the sequence, prompts of random token ids, others in every request and run, "
    "prefix caching off. Times are taken when a step returns. One run is left out. TPOT = (E2E - TTFT) / "
    "(output tokens - 1). Steps are told apart by the engine's counters: prefill steps compute prompt tokens "
    "only, decode steps none, mixed steps both."
)

HEADLINES = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")


def bench_throughput(
    config: EngineConfig, workload: Workload, num_runs: int, on_run: Callable[[DrivenRun], None]
) -> dict[str, Any]:
    """Measure; `on_run` gets each run. Returns the evidence.

    Raises:
        ModelError, ConfigError: the model cannot be loaded.
        InvalidRequestError: the workload does not fit into the context.
    """
    if num_runs < 1:
        raise ConfigError(f"runs is {num_runs}; it must be 1 or more")
    config = replace(config, enable_prefix_caching=False)
    runtime = load_runtime(config)
    try:
        driver = EngineDriver(runtime)
        workload = workload.with_tokenizer(runtime.tokenizer.encode)
        vocab_size = runtime.source.config.vocab_size
        warm_up = workload.requests(vocab_size, 0)
        first = driver.run(warm_up, workload.concurrency)
        runs = []
        for index in range(1, num_runs + 1):
            runs.append(driver.run(workload.requests(vocab_size, index), workload.concurrency))
            on_run(runs[-1])
        one = driver.run(warm_up[:1], 1)
        is_same_alone = one.token_ids[0] == first.token_ids[0]
    finally:
        runtime.close()
    return _evidence(config, workload, runtime, runs, is_same_alone)


def _evidence(
    config: EngineConfig, workload: Workload, runtime: Runtime, runs: Sequence[DrivenRun], is_same_alone: bool
) -> dict[str, Any]:
    figures = [driven.run.figures() for driven in runs]
    requests = [request for driven in runs for request in driven.run.requests]
    return evidence(
        "throughput",
        software={
            "backend": config.backend,
            "kernels": getattr(runtime.backend, "cpu_variant", None),
        },
        model={
            "name": runtime.source.name,
            "architecture": runtime.source.config.architecture,
            "weight_dtype": weight_dtype(config, runtime.source.config),
            "weight_bytes": getattr(runtime.backend, "weight_bytes", None),
            "kv_cache_dtype": runtime.cache.dtype,
        },
        parameters={
            **engine_parameters(config),
            "num_threads": config.num_threads or available_cpus(),
            "workload": workload.as_dict(),
            "num_runs": len(runs),
        },
        method=METHOD,
        results={
            **{name: spread([run[name] for run in figures]) for name in figures[0]},
            "percentiles": latencies(requests),
            "steps": _steps_of(runs),
        },
        runs=[_run_as_dict(driven) for driven in runs],
        verification={
            "every_request_gave_all_tokens": all(
                [len(token_ids) for token_ids in driven.token_ids] == driven.num_asked for driven in runs
            ),
            "the_engine_counted_the_same_output_tokens": all(
                driven.num_generated_tokens == driven.run.num_output_tokens for driven in runs
            ),
            "every_prompt_token_was_computed": all(
                driven.num_computed_prompt_tokens == driven.run.num_prompt_tokens for driven in runs
            ),
            "a_request_gave_the_same_tokens_alone": is_same_alone,
            "repeats": repeats(
                {name: [run[name] for run in figures] for name in HEADLINES if name in figures[0]}
            ),
        },
    )


def _steps_of(runs: Sequence[DrivenRun]) -> dict[str, Any]:
    whole = StepAccount()
    for driven in runs:
        whole.merge(driven.steps)
    return whole.as_dict()


def _run_as_dict(driven: DrivenRun) -> dict[str, Any]:
    return {
        "seconds": driven.run.seconds,
        **driven.run.figures(),
        "percentiles": latencies(driven.run.requests),
        "steps": driven.steps.as_dict(),
    }
