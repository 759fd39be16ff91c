"""The evidence of a throughput run: what it counts, what it verifies, and what it leaves out."""

import json

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.throughput import bench_throughput
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError


def measured(**changes):
    values = {"name": "small", "num_requests": 4, "concurrency": 2, "input_len": 9, "output_len": 5}
    seen = []
    document = bench_throughput(EngineConfig(), FixedWorkload(**(values | changes)), 2, seen.append)
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
    assert set(results["percentiles"]["e2e_seconds"]) == {"p50", "p90", "p99"}
    steps = results["steps"].values()
    assert sum(kind.get("num_prompt_tokens", 0) for kind in steps) == 2 * 4 * 9
    assert sum(kind.get("num_decode_tokens", 0) for kind in steps) == 2 * 4 * 4


def test_an_unmeasured_field_is_absent():
    document = measured(num_requests=1, concurrency=1, output_len=1)
    assert "tpot_seconds" not in document["results"]
    assert "tpot_seconds" not in document["results"]["percentiles"]
    assert set(document["results"]["steps"]) == {"prefill"}
    assert "null" not in json.dumps(document)


def test_no_runs_are_refused():
    workload = FixedWorkload(name="small", num_requests=1, concurrency=1, input_len=1, output_len=1)
    with pytest.raises(ConfigError, match="runs is 0"):
        bench_throughput(EngineConfig(), workload, 0, lambda run: None)
