"""`gradus bench milestones`: from static batches to 4-bit weights, one switch of the engine at a time.

Every milestone is the one before with one thing more. The whole path runs one workload in turns; the steps
whose gain has a bound by arithmetic are measured again on the workload that shows it (`gradus.bench.pairs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.pairs.compare import METHOD as PAIR_METHOD
from gradus.bench.pairs.compare import compare, method_of, model_facts, pair_configs, ratios, software_facts
from gradus.bench.pairs.measure import Measured, agreement, checks, measure, open_engines
from gradus.bench.pairs.switches import SWITCHES, Settings, Switch
from gradus.bench.published_targets import SOURCE, TARGETS
from gradus.bench.rounds import Report
from gradus.bench.workloads.mixed import MixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.machine import available_cpus
from gradus.runtime import Runtime

METHOD = (
    "Milestones are cumulative, in the engine's own switches. All have the same bytes for keys and values: "
    "what `num_streams` sequences of the longest length take. Memory: weights, what a step computes in, and "
    "the keys and values held at most. Longest context: of one request beside others of the mean length in "
    "the other `num_streams` - 1 seats, in the memory that M1 takes for weights, keys and values; where "
    "layouts are contiguous every seat has a slab of that length. Mapped weights stay where they are "
    f"(--no-huge-pages), so that the engines share them. {PAIR_METHOD} Steps with a bound were measured once "
    "more, on workloads of their own and with 4-bit weights."
)

NAMES = {
    "M1": "static batch, contiguous KV, naive attention",
    "M2": "continuous batching",
    "M3": "paged KV",
    "M4": "blocked attention",
    "M5": "chunked prefill",
    "M6": "prefix reuse",
    "M7": "4-bit weights",
}
STEPS = {"M2": "batching", "M3": "kv-layout", "M5": "chunked-prefill", "M6": "prefix-caching"}
_SAME_TOKENS = {"M2": "M1", "M3": "M1", "M5": "M4", "M6": "M4"}  # bit for bit
_HEADLINES = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")
_BLOCK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The workload of all milestones, and what they are given.

    Attributes:
        num_streams: sequences of the longest length that the KV cache holds.
        chunk: tokens in one step at most, from M5 on.
    """

    workload: MixedWorkload
    num_streams: int
    chunk: int

    @property
    def context(self) -> int:
        """Tokens of the longest sequence, in whole blocks."""
        return -(-self.workload.max_context // _BLOCK) * _BLOCK

    @property
    def settings(self) -> dict[str, Settings]:
        """What each milestone sets, all that came before it included."""
        steps: dict[str, Settings] = {
            "M1": {
                "batching": "static",
                "kv_layout": "contiguous",
                "num_kv_blocks": self.num_streams,
                "attention": "naive",
                "enable_chunked_prefill": False,
                "enable_prefix_caching": False,
                "quantization": "none",
                "max_model_len": self.context,
                "max_num_batched_tokens": None,
                "block_size": _BLOCK,
                "huge_pages": False,
            },
            "M2": {"batching": "continuous"},
            "M3": {"kv_layout": "paged", "num_kv_blocks": self.num_streams * self.context // _BLOCK},
            "M4": {"attention": "blocked"},
            "M5": {"enable_chunked_prefill": True, "max_num_batched_tokens": self.chunk},
            "M6": {"enable_prefix_caching": True},
            "M7": {"quantization": "int4"},
        }
        so_far: Settings = {}
        return {name: (so_far := {**so_far, **step}) for name, step in steps.items()}


PATHS = {
    path.workload.name: path
    for path in (
        Path(
            workload=MixedWorkload(
                name="milestones-cpu",
                concurrency=None,
                num_requests=12,
                prefix_len=48,
                min_input_len=8,
                max_input_len=24,
                min_output_len=4,
                max_output_len=32,
                long_input_len=192,
            ),
            num_streams=4,
            chunk=128,
        ),
        Path(
            workload=MixedWorkload(
                name="milestones",
                concurrency=None,
                num_requests=128,
                prefix_len=384,
                min_input_len=64,
                max_input_len=256,
                min_output_len=16,
                max_output_len=256,
                long_input_len=2048,
            ),
            num_streams=8,
            chunk=256,
        ),
    )
}


def find_path(name: str) -> Path:
    """Raises:
    ConfigError: names those that exist.
    """
    if name not in PATHS:
        raise ConfigError(f"there is no preset {name!r}; there are {', '.join(PATHS)}")
    return PATHS[name]


def fixed_settings(path: Path) -> set[str]:
    """Fields of `EngineConfig` that the milestones set, and that nobody else may."""
    switches = [bounded_switch(name) for name in STEPS]
    return set().union(*path.settings.values(), *(switch.settings for switch in switches))


def bounded_switch(milestone: str) -> Switch:
    """The switch that a milestone turns, with the two sides that its bound compares."""
    switch = SWITCHES[STEPS[milestone]]
    kept = ("whole", "256") if switch.name == "chunked-prefill" else tuple(switch.sides)
    return replace(switch, sides={side: switch.sides[side] for side in kept})


def num_runs(num_rounds: int) -> int:
    """Runs of engines, those that warm up included."""
    return (num_rounds + 1) * (len(NAMES) + sum(len(bounded_switch(name).sides) for name in STEPS))


def bench_milestones(config: EngineConfig, path: Path, num_rounds: int, report: Report) -> dict[str, Any]:
    """Measure; `report` hears of each run. Returns the evidence.

    Raises:
        ModelError, ConfigError: a milestone cannot be loaded.
    """
    configs = {name: replace(config, **settings) for name, settings in path.settings.items()}
    with open_engines(configs) as engines:
        measured = measure(engines, path.workload, num_rounds, report)
        milestones = {name: _milestone(measured, path, name) for name in NAMES}
        model, software = model_facts(config, engines), software_facts(config, engines)
        verification = checks(measured) | _same_tokens(measured)
    steps = {name: _step(config, name, num_rounds, report) for name in STEPS}
    for name, step in steps.items():
        verification |= {f"{name}_{check}": holds for check, holds in step.pop("verification").items()}
    return evidence(
        "milestones",
        software=software,
        model=model,
        parameters={
            **engine_parameters(config),
            "num_threads": config.num_threads or available_cpus(),
            "workload": path.workload.as_dict(),
            "num_streams": path.num_streams,
            "chunk": path.chunk,
            "num_runs": num_rounds,
        },
        method=METHOD,
        results={
            "milestones": milestones,
            "steps": steps,
            "published": {"source": SOURCE, "targets": _targets(milestones, steps)},
        },
        runs=measured.rounds.runs(),
        verification={**verification, "repeats": measured.rounds.repeats(*_HEADLINES)},
    )


def _milestone(measured: Measured, path: Path, name: str) -> dict[str, Any]:
    """One milestone's figures, and its ratios to the one before and to the first."""
    names = list(NAMES)
    before = names[names.index(name) - 1] if name != "M1" else None
    engine = measured.engines[name]
    summary = measured.rounds.summary(name)
    working = getattr(engine.backend, "program_bytes", None)
    return {
        "name": NAMES[name],
        **summary,
        "memory_bytes": int(engine.weight_bytes + (working or 0) + summary["kv_held_bytes"]["max"]),
        "kv_cache_bytes": engine.cache.num_bytes,
        "longest_context": longest_context(engine, path, _given_bytes(measured)),
        "to_the_one_before": None if before is None else ratios(measured, name, before),
        "to_M1": None if before is None else ratios(measured, name, "M1"),
    }


def _given_bytes(measured: Measured) -> int:
    """Memory that every milestone may use for weights, keys and values: what M1 takes."""
    first = measured.engines["M1"]
    return first.weight_bytes + first.cache.num_bytes


def longest_context(engine: Runtime, path: Path, given_bytes: int) -> int:
    """Tokens of the longest request that fits beside requests of the mean length in the other seats."""
    num_tokens = max(0, given_bytes - engine.weight_bytes) // engine.cache.token_bytes
    others = path.num_streams - 1
    if engine.backend.block_size >= engine.core.config.max_model_len:  # contiguous: all slabs are as long
        longest = num_tokens // path.num_streams
    else:
        contexts = [request.context for request in path.workload.requests(engine.backend.vocab_size, 1)]
        longest = num_tokens - others * -(-sum(contexts) // len(contexts))
    whole_blocks = max(0, longest) // _BLOCK * _BLOCK
    return min(whole_blocks, engine.source.config.max_position_embeddings)


def _same_tokens(measured: Measured) -> dict[str, bool]:
    return {
        f"{name}_gave_the_tokens_of_{base}": agreement(measured.runs[name], measured.runs[base]) == 1
        for name, base in _SAME_TOKENS.items()
    }


def _step(config: EngineConfig, milestone: str, num_rounds: int, report: Report) -> dict[str, Any]:
    """A step on the workload that shows it: the gain beside its bound."""
    switch = bounded_switch(milestone)
    quick = replace(config, quantization="int4")
    with open_engines(pair_configs(quick, switch)) as engines:
        measured = measure(engines, switch.workload, num_rounds, report)
        results, verification = compare(switch, measured)
    verification.pop("repeats")
    return {
        "switch": switch.name,
        "workload": switch.workload.as_dict(),
        "method": method_of(switch),
        **results,
        "runs": measured.rounds.runs(),
        "verification": verification,
    }


def _targets(milestones: Mapping[str, Any], steps: Mapping[str, Any]) -> dict[str, Any]:
    """Published targets beside what was measured, per milestone; those that were not measured are absent."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, targets in TARGETS.items():
        for target in targets:
            if target.switch is None:
                ratio = milestones[name]["to_the_one_before"].get(target.figure)
            else:
                ratio = steps[name].get("bound", {}).get("measured")
            if ratio is not None:
                found.setdefault(name, []).append(target.beside(ratio["median"]))
    return found
