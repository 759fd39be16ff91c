"""The evidence of a batch's latency."""

import json

import numpy as np
import pytest

from gradus.bench.evidence import to_line
from gradus.bench.latency import bench_latency
from gradus.config import EngineConfig
from gradus.errors import ConfigError

NUMBERS = {"batch_size": 3, "input_len": 9, "output_len": 4, "num_iters": 3, "num_warm_ups": 2}


def measured(**changes):
    seen = []
    document = bench_latency(EngineConfig(), **(NUMBERS | changes), on_run=seen.append)
    return seen, json.loads(to_line(document))


def test_latency_is_that_of_whole_batches_and_warm_ups_are_left_out():
    seen, document = measured()
    assert document["test_name"] == "latency"
    assert len(seen) == len(document["runs"]) == 3
    seconds = [driven.run.seconds for driven in seen]
    results = document["results"]
    assert results["latency_seconds"]["median"] == pytest.approx(np.median(seconds))
    assert results["mean_latency_seconds"] == pytest.approx(np.mean(seconds))
    assert results["percentiles"]["latency_seconds"]["p90"] == pytest.approx(np.percentile(seconds, 90))
    assert set(results["percentiles"]["latency_seconds"]) == {"p10", "p25", "p50", "p75", "p90", "p99"}
    for run in document["runs"]:
        starts, ends = ([request[name] for request in run["requests"]] for name in ("start", "end"))
        assert run["seconds"] == pytest.approx(max(ends) - min(starts))
        assert max(starts) < min(request["first_token"] for request in run["requests"])  # all at once
    steps = results["steps"].values()
    assert sum(kind.get("num_decode_tokens", 0) for kind in steps) == 3 * 3 * 3
    verification = document["verification"]
    assert verification.pop("repeats")["tolerance"] == 0.05
    assert set(verification.values()) == {True}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_iters": 0}, "runs is 0"),
        ({"num_warm_ups": -1}, "warm-ups is -1"),
        ({"batch_size": 0}, "num_requests is 0"),
    ],
)
def test_numbers_that_cannot_work_are_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        measured(**changes)
