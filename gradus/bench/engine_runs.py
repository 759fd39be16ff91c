"""A workload's runs on one loaded engine, and what any bench reports of them: counts, steps, verification."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gradus.backends.native.backend import NativeBackend
from gradus.bench.ceilings import Ceilings, measure_ceilings
from gradus.bench.engine_driver import DrivenRun, EngineDriver, StepAccount
from gradus.bench.evidence import engine_parameters
from gradus.bench.statistics import repeats, spread
from gradus.bench.timings import RequestTiming, latencies, ttft_by_prompt
from gradus.bench.utilization import StepBounds, utilization, watched_steps
from gradus.bench.workloads.base import Workload
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.machine import available_cpus
from gradus.runtime import Runtime, load_runtime

Report = Callable[[DrivenRun], None]


@dataclass(frozen=True)
class EngineRuns:
    """The runs, without the warm-ups.

    Attributes:
        is_same_alone: a request gave the same tokens alone as in company.
        utilizations: of each run, by kind of step; empty where it was not measured.
    """

    config: EngineConfig
    workload: Workload
    runtime: Runtime
    runs: list[DrivenRun]
    is_same_alone: bool
    ceilings: Ceilings | None
    utilizations: list[dict[str, float]]

    @cached_property
    def figures(self) -> list[dict[str, float]]:
        """Of each run."""
        return [driven.run.figures() for driven in self.runs]

    @property
    def requests(self) -> list[RequestTiming]:
        """Of all runs."""
        return [request for driven in self.runs for request in driven.run.requests]

    def summary(self) -> dict[str, dict[str, float]]:
        """Every figure over the runs."""
        return {name: spread([run[name] for run in self.figures]) for name in self.figures[0]}

    def software(self) -> dict[str, Any]:
        return {
            "backend": self.config.backend,
            "kernels": getattr(self.runtime.backend, "cpu_variant", None),
        }

    def model(self) -> dict[str, Any]:
        model = self.runtime.source.config
        return {
            "name": self.runtime.source.name,
            "architecture": model.architecture,
            "weight_dtype": weight_dtype(self.config, model),
            "weight_bytes": getattr(self.runtime.backend, "weight_bytes", None),
            "kv_cache_dtype": self.runtime.cache.dtype,
        }

    def parameters(self) -> dict[str, Any]:
        return {
            **engine_parameters(self.config),
            "num_threads": self.config.num_threads or available_cpus(),
            "workload": self.workload.as_dict(),
            "num_runs": len(self.runs),
        }

    def results(self) -> dict[str, Any]:
        """What the latencies, the steps and the engine's counters say over all runs."""
        steps = StepAccount()
        for driven in self.runs:
            steps.merge(driven.steps)
        return {
            "percentiles": latencies(self.requests),
            "ttft_seconds_by_prompt": ttft_by_prompt(self.requests),
            "steps": steps.as_dict(),
            "counters": self._counters(),
            "utilization": self._utilization(),
        }

    def runs_as_dicts(self) -> list[dict[str, Any]]:
        """Every run, with the raw values of its requests."""
        return [
            {
                "seconds": driven.run.seconds,
                **figures,
                "percentiles": latencies(driven.run.requests),
                "steps": driven.steps.as_dict(),
                "requests": [request.as_dict() for request in driven.run.requests],
            }
            for driven, figures in zip(self.runs, self.figures, strict=True)
        ]

    def verification(self, headlines: Sequence[str], **more: Sequence[float]) -> dict[str, Any]:
        """What was checked; `headlines` are the figures that should repeat, `more` others by name."""
        return {
            "every_request_gave_all_tokens": all(
                [len(token_ids) for token_ids in driven.token_ids] == driven.num_asked for driven in self.runs
            ),
            "the_engine_counted_the_same_output_tokens": all(
                driven.num_generated_tokens == driven.run.num_output_tokens for driven in self.runs
            ),
            "every_prompt_token_was_computed_or_cached": all(map(_prompts_add_up, self.runs)),
            "a_request_gave_the_same_tokens_alone": self.is_same_alone,
            "repeats": repeats(
                {
                    **more,
                    **{n: [run[n] for run in self.figures] for n in headlines if n in self.figures[0]},
                }
            ),
        }

    def _counters(self) -> dict[str, Any]:
        """The engine's own, over all runs; the hit rate only with prefix caching."""
        asked = sum(driven.run.num_prompt_tokens for driven in self.runs)
        cached = sum(driven.num_cached_prompt_tokens for driven in self.runs)
        return {
            "num_prompt_tokens": asked,
            "num_computed_prompt_tokens": sum(driven.num_computed_prompt_tokens for driven in self.runs),
            "num_cached_prompt_tokens": cached,
            "prefix_cache_hit_rate": cached / asked if self.config.enable_prefix_caching else None,
            "num_preemptions": sum(driven.num_preemptions for driven in self.runs),
        }

    def _utilization(self) -> dict[str, Any] | None:
        if self.ceilings is None:
            return None
        kinds = dict.fromkeys(kind for found in self.utilizations for kind in found)
        shares = {kind: spread([run[kind] for run in self.utilizations if kind in run]) for kind in kinds}
        return {**shares, "ceilings": self.ceilings.as_dict()}


def run_workload(
    config: EngineConfig,
    workload: Workload,
    on_run: Report,
    *,
    num_runs: int,
    num_warm_ups: int = 1,
    with_utilization: bool = False,
) -> EngineRuns:
    """Load the model and run the workload; each run begins with an empty prefix cache.

    on_run: gets each run as it ends, without the warm-ups.

    Raises:
        ModelError, ConfigError: the model cannot be loaded, or a number is too small.
        InvalidRequestError: the workload does not fit into the context.
    """
    if num_runs < 1:
        raise ConfigError(f"runs is {num_runs}; it must be 1 or more")
    if num_warm_ups < 0:
        raise ConfigError(f"warm-ups is {num_warm_ups}; it must be 0 or more")
    runtime = load_runtime(config)
    try:
        workload = workload.with_tokenizer(runtime.tokenizer.encode)
        bounds = _bounds(runtime) if with_utilization else None
        session = _Session(runtime, workload)
        for index in range(num_warm_ups):
            session.run(-index)
        runs, utilizations = [], []
        for index in range(1, num_runs + 1):
            if bounds is None:
                driven = session.run(index)
            else:
                with watched_steps(runtime.core) as works:
                    driven = session.run(index)
                utilizations.append(utilization(bounds, works, driven.each_step))
            runs.append(driven)
            on_run(driven)
        is_same_alone = session.first_alone(1) == runs[0].token_ids[0]
    finally:
        runtime.close()
    ceilings = None if bounds is None else bounds.ceilings
    return EngineRuns(config, workload, runtime, runs, is_same_alone, ceilings, utilizations)


class _Session:
    """One engine and the workload that it runs."""

    def __init__(self, runtime: Runtime, workload: Workload) -> None:
        self._driver = EngineDriver(runtime)
        self._vocab_size = runtime.source.config.vocab_size
        self._workload = workload

    def run(self, round_index: int) -> DrivenRun:
        self._driver.forget_prefixes()
        requests = self._workload.requests(self._vocab_size, round_index)
        return self._driver.run(requests, self._workload.concurrency)

    def first_alone(self, round_index: int) -> list[int]:
        """The tokens of a round's first request, run with no other."""
        self._driver.forget_prefixes()
        return self._driver.run(self._workload.requests(self._vocab_size, round_index)[:1], 1).token_ids[0]


def _bounds(runtime: Runtime) -> StepBounds | None:
    """None for a backend whose operations are not known one by one."""
    backend = runtime.backend
    if not isinstance(backend, NativeBackend):
        return None
    ceilings = measure_ceilings(backend.cpu_variant, backend.num_threads)
    return StepBounds(backend, runtime.source.config, ceilings)


def _prompts_add_up(driven: DrivenRun) -> bool:
    """A preempted request's prompt is computed again, so there may be more then, and never less."""
    covered = driven.num_computed_prompt_tokens + driven.num_cached_prompt_tokens
    asked = driven.run.num_prompt_tokens
    return covered >= asked if driven.num_preemptions else covered == asked
