"""`gradus bench pair`: one switch of the engine, its sides in turns on the workload that shows it."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.pairs.bounds import BoundCheck
from gradus.bench.pairs.measure import Engines, Measured, agreement, checks, measure, open_engines
from gradus.bench.pairs.switches import Switch
from gradus.bench.rounds import Report
from gradus.cache_plan import weight_dtype
from gradus.config import EngineConfig
from gradus.machine import available_cpus
from gradus.runtime import Runtime

METHOD = (
    "All sides are loaded in one process and take turns on the same requests, greedy and past the end of the "
    "sequence; one round warms up and is left out. Counts are the engine's counters, tokens come when the "
    "step that gave them returns, and a ratio is the median of the rounds' ratios, above 1 where the side is "
    "better than the first one."
)


def pair_configs(config: EngineConfig, switch: Switch) -> dict[str, EngineConfig]:
    """Every side's configuration; the context is the workload's, unless one was given.

    Raises:
        ConfigError: a side's settings cannot work together.
    """
    context = {"max_model_len": config.max_model_len or switch.workload.max_context}
    return {
        side: replace(config, **{**context, **switch.common, **settings})
        for side, settings in switch.sides.items()
    }


def bench_pair(config: EngineConfig, switch: Switch, num_rounds: int, report: Report) -> dict[str, Any]:
    """Measure; `report` hears of each run. Returns the evidence.

    Raises:
        ModelError, ConfigError: a side cannot be loaded.
    """
    configs = pair_configs(config, switch)
    with open_engines(configs) as engines:
        measured = measure(engines, switch.workload, num_rounds, report)
        results, verification = compare(switch, measured)
        model, software = model_facts(config, engines), software_facts(config, engines)
    return evidence(
        "pair",
        software=software,
        model=model,
        parameters={
            **engine_parameters(config),
            "num_threads": config.num_threads or available_cpus(),
            "switch": switch.name,
            "sides": {side: _settings(switch, side) for side in switch.sides},
            "workload": switch.workload.as_dict(),
            "num_runs": num_rounds,
        },
        method=method_of(switch),
        results=results,
        runs=measured.rounds.runs(),
        verification=verification,
    )


def compare(switch: Switch, measured: Measured) -> tuple[dict[str, Any], dict[str, Any]]:
    """A switch's results and what was verified of them."""
    rounds, base = measured.rounds, measured.base
    others = [side for side in measured.runs if side != base]
    bound = check_bound(switch, measured)
    shares = {side: agreement(measured.runs[side], measured.runs[base]) for side in others}
    results = {
        "base": base,
        "sides": {side: rounds.summary(side) for side in measured.runs},
        "ratios": {side: ratios(measured, side, base) for side in others},
        "bound": None if bound is None else bound.as_dict(),
        "share_of_tokens_as_the_base": shares,
    }
    verification = checks(measured) | ({} if bound is None else bound.checks)
    if switch.same_tokens:
        verification["all_sides_gave_the_same_tokens"] = all(share == 1 for share in shares.values())
    timed = [name for name in switch.headlines if name.endswith(("_seconds", "_per_second"))]
    return results, {**verification, "repeats": rounds.repeats(*timed)}


def check_bound(switch: Switch, measured: Measured) -> BoundCheck | None:
    """The gain beside its bound, if the switch has one and the sides' shapes tell it."""
    return None if switch.bound is None else switch.bound(measured)


def ratios(measured: Measured, side: str, base: str) -> dict[str, Any]:
    """How much better a side is than another, in every figure that is a time, a rate or a size above zero."""
    found = {}
    for name in measured.rounds.names(side):
        values = measured.rounds.values(side, name), measured.rounds.values(base, name)
        is_rate, is_cost = (
            name.endswith("_per_second"),
            name.endswith(("_seconds", "_bytes", "_per_resident")),
        )
        if (is_rate or is_cost) and len(values[0]) == len(values[1]) and min(*values[0], *values[1]) > 0:
            found[name] = measured.rounds.ratio(name, side, base, lower_is_better=is_cost).as_dict()
    return found


def method_of(switch: Switch) -> str:
    """In words: how it was measured, and the bound's formula."""
    formula = inspect.getdoc(switch.bound) if switch.bound is not None else None
    return f"{METHOD} Bound: {' '.join(formula.split())}" if formula else METHOD


def model_facts(config: EngineConfig, engines: Engines) -> dict[str, Any]:
    engine = _any(engines)
    return {
        "name": engine.source.name,
        "architecture": engine.source.config.architecture,
        "weight_dtype": weight_dtype(config, engine.source.config),
        "kv_cache_dtype": engine.cache.dtype,
    }


def software_facts(config: EngineConfig, engines: Engines) -> dict[str, Any]:
    return {"backend": config.backend, "kernels": getattr(_any(engines).backend, "cpu_variant", None)}


def _any(engines: Engines) -> Runtime:
    return next(iter(engines.values()))


def _settings(switch: Switch, side: str) -> Mapping[str, Any]:
    """What a side sets; a setting that it leaves to the engine says so."""
    return {
        name: "chosen by the engine" if value is None else value
        for name, value in {**switch.common, **switch.sides[side]}.items()
    }
