"""A ladder's evidence: what it says of each rung, and that it adds up."""

import json

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.ladder.ladder import Ladder, bench_ladder, measure
from gradus.bench.ladder.rungs import RUNGS, find_rungs
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from tests.bench.ladder.conftest import WORKLOAD


@pytest.fixture(scope="module")
def document(ladder):
    seen = []
    found = json.loads(to_line(measure(ladder, 2, seen.append)))
    assert len(seen) == 3 * len(RUNGS)
    return found


def test_every_rung_did_the_same_work(document):
    verification = document["verification"]
    assert verification.pop("repeats")["tolerance"] == 0.05
    assert len(verification) == 5
    assert set(verification.values()) == {True}
    assert document["parameters"]["enable_prefix_caching"] is False


def test_every_rung_says_what_it_costs(document):
    rungs = document["results"]["rungs"]
    assert [rung["number"] for rung in rungs] == list(range(10))
    for rung in rungs:
        runs = [run for run in document["runs"] if run["side"] == f"{rung['number']} {rung['name']}"]
        assert len(runs) == 2
        for figure in ("tokens_per_second", "seconds_per_step", "cpu_seconds_per_step", "num_steps"):
            values = [run[figure] for run in runs]
            assert min(values) == rung[figure]["min"] <= rung[figure]["median"] <= rung[figure]["max"]
        for run in runs:
            num_tokens = run["tokens_per_second"] * run["seconds_per_step"] * run["num_steps"]
            assert num_tokens == pytest.approx(WORKLOAD.num_requests * WORKLOAD.output_len)
    assert [rung["num_steps"]["median"] for rung in rungs[:5]] == [WORKLOAD.output_len] * 5


def test_losses_are_those_of_rounds(document):
    rungs = document["results"]["rungs"]
    assert "loss_to_rung_0" not in rungs[0]
    assert "loss_to_rung_below" not in rungs[0]
    speeds = [
        [r["tokens_per_second"] for r in document["runs"] if r["side"] == f"{rung['number']} {rung['name']}"]
        for rung in rungs
    ]
    for number in range(1, 10):
        assert rungs[number]["rung_below"] == rungs[number - 1]["name"]
        for loss, base in (("loss_to_rung_0", 0), ("loss_to_rung_below", number - 1)):
            losses = [1 - mine / other for mine, other in zip(speeds[number], speeds[base], strict=True)]
            assert rungs[number][loss]["median"] == pytest.approx(sum(losses) / 2)
            low, high = rungs[number][loss]["interval_95"]
            assert [low, high] == pytest.approx([min(losses), max(losses)])


def test_some_rungs_alone(document):
    config, entries = EngineConfig(num_threads=1), find_rungs("4")
    document = bench_ladder(config, WORKLOAD, 1, lambda name: None, entries=entries)
    rungs = document["results"]["rungs"]
    assert [rung["number"] for rung in rungs] == [0, 4]
    assert rungs[1]["rung_below"] == "kernels"
    assert "interval_95" not in rungs[1]["loss_to_rung_below"]  # one round says nothing about it


def test_a_ladder_needs_kernels_that_can_be_run_alone():
    with pytest.raises(ConfigError, match="--backend at native"):
        Ladder(EngineConfig(backend="torch"), WORKLOAD)


def test_more_at_a_time_than_the_cache_holds_are_refused():
    many = FixedWorkload(name="many", num_requests=4, concurrency=4, input_len=20, output_len=20)
    with pytest.raises(ConfigError, match="12 KV blocks at a time and there are 8"):
        Ladder(EngineConfig(num_kv_blocks=8, num_threads=1), many)
