"""Runs one workload on several engines that differ in their configuration, in turns, and keeps what was seen.

Knows nothing of what the configurations mean.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import numpy as np

from gradus.bench.engine_driver import DrivenRun, EngineDriver
from gradus.bench.rounds import Figures, Report, Rounds, Side, take_turns
from gradus.bench.workloads.base import Workload, WorkloadRequest
from gradus.config import EngineConfig
from gradus.runtime import Runtime, load_runtime

Engines = Mapping[str, Runtime]


@dataclass(frozen=True, slots=True)
class Measured:
    """What all sides did: per side one run per round, the warm-up left out."""

    engines: Engines
    requests: list[list[WorkloadRequest]]  # per round
    rounds: Rounds
    runs: dict[str, list[DrivenRun]]

    @property
    def base(self) -> str:
        """The side that the others are compared with: the first."""
        return next(iter(self.runs))


@contextmanager
def open_engines(configs: Mapping[str, EngineConfig]) -> Iterator[Engines]:
    """Load one engine per side; all of them are in memory at once.

    Raises:
        ModelError, ConfigError: one of them cannot be loaded.
    """
    with ExitStack() as stack:
        yield {name: stack.enter_context(closing(load_runtime(config))) for name, config in configs.items()}


def measure(engines: Engines, workload: Workload, num_rounds: int, report: Report) -> Measured:
    """Run the workload on every engine once per round, in turns.

    Raises:
        ConfigError: num_rounds is below 1.
        InvalidRequestError: the workload does not fit into an engine's context.
    """
    vocab_size = next(iter(engines.values())).source.config.vocab_size
    runs: dict[str, list[DrivenRun]] = {name: [] for name in engines}

    def side(name: str, engine: Runtime) -> Side:
        driver = EngineDriver(engine)

        def run(index: int) -> Figures:
            driven = driver.run(workload.requests(vocab_size, index), workload.concurrency)
            if index:
                runs[name].append(driven)
            return figures_of(driven, engine)

        return Side(name, run)

    rounds = take_turns([side(*item) for item in engines.items()], num_rounds, report)
    requests = [workload.requests(vocab_size, index) for index in range(1, num_rounds + 1)]
    return Measured(engines, requests, rounds, runs)


def figures_of(driven: DrivenRun, engine: Runtime) -> Figures:
    """The usual figures of a run, and what the engine counted in it; what there is none of is absent."""
    run, steps = driven.run, driven.each_step
    block_bytes = engine.backend.block_size * engine.cache.token_bytes
    fullest = max(steps, key=lambda step: step.num_resident)
    found = {
        **run.figures(),
        "ttft_p99_seconds": float(np.percentile([request.ttft for request in run.requests], 99)),
        "e2e_p99_seconds": float(np.percentile([request.e2e for request in run.requests], 99)),
        "num_steps": len(steps),
        "num_computed_prompt_tokens": driven.num_computed_prompt_tokens,
        "num_cached_prompt_tokens": driven.num_cached_prompt_tokens,
        "num_preemptions": driven.num_preemptions,
        "num_resident_at_most": fullest.num_resident,
        "weight_bytes": engine.weight_bytes,
        "kv_held_bytes": max(step.num_used_blocks for step in steps) * block_bytes,
    }
    if engine.core.config.enable_prefix_caching:
        found["prefix_cache_hit_rate"] = driven.num_cached_prompt_tokens / run.num_prompt_tokens
    if fullest.num_resident:
        found["kv_bytes_per_resident"] = fullest.num_used_blocks * block_bytes / fullest.num_resident
    gaps = [gap for request in run.requests for gap in request.itls]
    if gaps:
        found["itl_p99_seconds"] = float(np.percentile(gaps, 99))
        found["longest_gap_seconds"] = max(gaps)
    return found


def agreement(runs: Sequence[DrivenRun], base: Sequence[DrivenRun]) -> float:
    """The share of output tokens, over all rounds, that are the base's in the same place."""
    pairs = [
        (ours, theirs)
        for run, base_run in zip(runs, base, strict=True)
        for tokens, base_tokens in zip(run.token_ids, base_run.token_ids, strict=True)
        for ours, theirs in zip(tokens, base_tokens, strict=True)
    ]
    return sum(ours == theirs for ours, theirs in pairs) / len(pairs)


def checks(measured: Measured) -> dict[str, bool]:
    """What must hold of every run, by the engine's own counters."""
    runs = [driven for side in measured.runs.values() for driven in side]
    return {
        "every_request_gave_all_tokens": all(
            [len(token_ids) for token_ids in driven.token_ids] == driven.num_asked for driven in runs
        ),
        "the_engine_counted_the_same_output_tokens": all(
            driven.num_generated_tokens == driven.run.num_output_tokens for driven in runs
        ),
        "every_prompt_token_was_computed_or_found_in_the_cache": all(
            driven.num_computed_prompt_tokens + driven.num_cached_prompt_tokens
            == driven.run.num_prompt_tokens
            for driven in runs
            if not driven.num_preemptions  # after one, prompts are computed again
        ),
    }
