"""The evidence of a throughput run: what it counts, what it verifies, and what it leaves out."""

import json
from dataclasses import replace

import pytest

from gradus.bench import engine_runs
from gradus.bench.ceilings import Ceilings
from gradus.bench.engine_driver import EngineDriver
from gradus.bench.evidence import to_line
from gradus.bench.statistics import spread
from gradus.bench.throughput import bench_throughput
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.bench.workloads.registry import changed_workload
from gradus.bench.workloads.shared_prefix import SharedPrefixWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError


def measured(**changes):
    values = {"name": "small", "num_requests": 4, "concurrency": 2, "input_len": 9, "output_len": 5}
    seen = []
    config = EngineConfig(enable_prefix_caching=False)
    document = bench_throughput(config, FixedWorkload(**(values | changes)), 2, seen.append)
    assert len(seen) == 2
    return json.loads(to_line(document))


def test_the_document_has_the_runs_the_workload_and_what_was_verified():
    document = measured()
    assert document["test_name"] == "throughput"
    assert document["parameters"]["workload"]["num_requests"] == 4
    assert document["parameters"]["enable_prefix_caching"] is False
    verification = document["verification"]
    assert verification.pop("repeats")["tolerance"] == 0.05
    assert set(verification.values()) == {True}
    assert len(document["runs"]) == 2
    results = document["results"]
    for name in ("output_tokens_per_second", "ttft_seconds", "tpot_seconds"):
        values = [run[name] for run in document["runs"]]
        assert min(values) == results[name]["min"] <= results[name]["median"] <= results[name]["max"]
    assert set(results["percentiles"]["itl_seconds"]) == {"p50", "p90", "p99"}
    assert results["ttft_seconds_by_prompt"]["under_100"]["num_requests"] == 2 * 4
    assert results["counters"] == {
        "num_prompt_tokens": 2 * 4 * 9,
        "num_computed_prompt_tokens": 2 * 4 * 9,
        "num_cached_prompt_tokens": 0,
        "num_preemptions": 0,
    }
    steps = results["steps"].values()
    assert sum(kind.get("num_prompt_tokens", 0) for kind in steps) == 2 * 4 * 9
    assert sum(kind.get("num_decode_tokens", 0) for kind in steps) == 2 * 4 * 4


def test_an_unmeasured_field_is_absent():
    document = measured(num_requests=1, concurrency=1, output_len=1)
    assert "tpot_seconds" not in document["results"]
    assert "tpot_seconds" not in document["results"]["percentiles"]
    assert set(document["results"]["steps"]) == {"prefill"}
    for name in ("utilization", "good_requests_per_second"):
        assert name not in document["results"]
    assert "null" not in json.dumps(document)


def test_no_runs_are_refused():
    workload = FixedWorkload(name="small", num_requests=1, concurrency=1, input_len=1, output_len=1)
    with pytest.raises(ConfigError, match="runs is 0"):
        bench_throughput(EngineConfig(), workload, 0, lambda run: None)


def shared_prefix(config):
    workload = SharedPrefixWorkload(
        name="small", concurrency=1, num_requests=5, input_len=40, output_len=2, share_of_requests=0.6
    )
    return bench_throughput(config, workload, 2, lambda run: None, objectives={"ttft": 1000.0})


def test_what_a_prefix_cache_finds_is_counted_per_run():
    document = shared_prefix(EngineConfig(block_size=16))
    prefix = 32  # two blocks, as 0.8 of 40 tokens is
    counters = document["results"]["counters"]
    assert counters["num_cached_prompt_tokens"] == 2 * (3 - 1) * prefix  # the first of each run computes it
    assert counters["num_computed_prompt_tokens"] == 2 * (5 * 40 - 2 * prefix)
    assert counters["prefix_cache_hit_rate"] == pytest.approx(2 * prefix / (5 * 40))
    assert document["verification"]["every_prompt_token_was_computed_or_cached"]
    assert document["verification"]["a_request_gave_the_same_tokens_alone"]


def test_goodput_counts_the_requests_that_kept_the_limits():
    document = shared_prefix(EngineConfig(enable_prefix_caching=False))
    assert "prefix_cache_hit_rate" not in document["results"]["counters"]
    assert document["parameters"]["goodput_seconds"] == {"ttft": 1000.0}
    rates = [run["requests_per_second"] for run in document["runs"]]
    assert document["results"]["good_requests_per_second"] == spread(rates)  # a limit that all keep


@pytest.mark.parametrize("name", ["multi-turn-cpu", "standard-prompts", "poisson", "sharegpt-generated"])
def test_every_kind_of_workload_runs(name):
    smaller = {
        "multi-turn-cpu": {"num_conversations": 2},
        "standard-prompts": {"output_len": 3},
        "poisson": {"num_requests": 3, "request_rate": 50.0},
        "sharegpt-generated": {"num_requests": 3, "mean_output_len": 4.0},
    }
    workload = changed_workload(name, **smaller[name])
    document = bench_throughput(EngineConfig(), workload, 1, lambda run: None)
    verification = {name: value for name, value in document["verification"].items() if name != "repeats"}
    assert set(verification.values()) == {True}


def test_a_wrong_count_is_seen(monkeypatch):
    """A mutant: the engine counts a computed prompt token too few."""
    run = EngineDriver.run

    def miscounting(self, requests, concurrency):
        driven = run(self, requests, concurrency)
        return replace(driven, num_computed_prompt_tokens=driven.num_computed_prompt_tokens - 1)

    monkeypatch.setattr(EngineDriver, "run", miscounting)
    assert measured()["verification"]["every_prompt_token_was_computed_or_cached"] is False


def test_utilization_falls_as_the_machines_ceilings_rise(monkeypatch):
    config = EngineConfig(num_threads=1)
    shares = []
    for rate in (1e9, 2e9):
        ceilings = Ceilings({(kind, 1): [rate] for kind in ("f32", "int8", "int4")}, {1: [rate]})
        monkeypatch.setattr(engine_runs, "measure_ceilings", lambda variant, threads, found=ceilings: found)
        workload = FixedWorkload(name="small", num_requests=2, concurrency=2, input_len=9, output_len=5)
        document = bench_throughput(config, workload, 1, lambda run: None, with_utilization=True)
        found, (run,) = document["results"]["utilization"], document["runs"]
        seconds = sum(kind["seconds"] for kind in run["steps"].values())
        shares.append(found["all"]["median"] * seconds)  # the bound, which does not depend on the time
        assert found["ceilings"] == ceilings.as_dict()
    assert shares[0] == pytest.approx(2 * shares[1])
