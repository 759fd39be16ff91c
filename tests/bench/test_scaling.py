"""Scaling: how work is shared, what is verified, and that a delay or a wrong token in one side is seen."""

import json

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.scaling import BASE, Scale, Work, bench_scaling, default_counts, measure, scales
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workers import WorkerRun
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.machine import available_cpus

WORKLOAD = FixedWorkload(name="small", num_requests=5, concurrency=3, input_len=4, output_len=2)
TWO_WORKERS = Scale("workers", 2, False)


def test_workers_share_the_requests_and_a_weak_side_has_more_of_them():
    base = Work.of(WORKLOAD, BASE, 100, 1)
    assert (len(base.shares), base.concurrency) == (1, [3])
    strong = Work.of(WORKLOAD, TWO_WORKERS, 100, 1)
    assert strong.concurrency == [2, 1]
    assert [strong.shares[i % 2][i // 2] for i in range(5)] == base.shares[0]
    weak = Work.of(WORKLOAD, Scale("threads", 2, True), 100, 1)
    assert weak.concurrency == [6]
    assert weak.shares[0][:5] == base.shares[0]
    assert len({tuple(request.prompt) for request in weak.shares[0]}) == 10


class FakeWorker:
    """Tokens follow from the prompt; every request takes `seconds`, one after the other."""

    def __init__(self, seconds, *, slip=0, uncounted=0):
        self.seconds, self.slip, self.uncounted = seconds, slip, uncounted

    def run(self, requests, concurrency):
        timings = [
            RequestTiming(i * self.seconds, i * self.seconds, (i + 1) * self.seconds, 4, 2)
            for i in range(len(requests))
        ]
        tokens = [[sum(request.prompt) + self.slip, 1] for request in requests]
        count = 2 * len(requests) - self.uncounted
        return WorkerRun(0.0, Run(tuple(timings)), tokens, count, {})

    def close(self):
        pass


def rounds_of(**changes):
    sides = [BASE, TWO_WORKERS, Scale("workers", 2, True)]
    workers = {1: [FakeWorker(1.0)], 2: [FakeWorker(1.0), FakeWorker(1.0, **changes)]}
    return measure(sides, WORKLOAD, lambda scale: workers[scale.num_workers], 100, 2, lambda name: None)


def test_speedups_follow_from_the_workers_clocks():
    checks, rounds = rounds_of()
    figure = "output_tokens_per_second"
    assert rounds.values("1 thread", figure) == [2.0, 2.0]
    assert (
        rounds.ratio(figure, "2 workers", "1 thread", lower_is_better=False).median == 5 / 3
    )  # 3 of 5 in one
    assert rounds.values("2 workers, 2 x the work", figure) == [4.0, 4.0]
    assert (checks.every_token, checks.engines_agree, checks.same_tokens) == (True, True, True)


def test_a_wrong_token_and_a_wrong_count_are_seen():
    assert rounds_of(slip=1)[0].same_tokens is False
    assert rounds_of(uncounted=1)[0].engines_agree is False


def test_processes_are_measured_and_give_the_same_tokens():
    config = EngineConfig(max_model_len=64, num_kv_blocks=64)
    counts = default_counts()[:2]
    document = json.loads(to_line(bench_scaling(config, WORKLOAD, counts, 1, lambda name: None)))
    verification = document["verification"]
    del verification["repeats"]
    assert set(verification.values()) == {True}
    results = document["results"]
    assert "speedup" not in results["1 thread"]
    for found in results.values():
        weak = 2 if found["kind"] == "weak" else 1
        assert found["num_output_tokens"]["median"] == 5 * 2 * weak
    for found in list(results.values())[1:]:
        assert found["efficiency"]["median"] == pytest.approx(found["speedup"]["median"] / 2)


def test_numbers_that_cannot_be_measured_here_are_refused():
    with pytest.raises(ConfigError, match=f"name {available_cpus()} at most"):
        scales([available_cpus() + 1], WORKLOAD)
    one = FixedWorkload(name="one", num_requests=1, concurrency=1, input_len=4, output_len=2)
    if available_cpus() > 1:
        with pytest.raises(ConfigError, match="2 workers cannot share 1 requests"):
            scales([2], one)
