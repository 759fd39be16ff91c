"""Arrivals: their rate, their shape, and that any workload can have them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gamma, kstest

from gradus.bench.workloads.open_loop import OpenLoop
from gradus.bench.workloads.registry import WORKLOADS, changed_workload, find_workload
from gradus.bench.workloads.text import TextWorkload
from gradus.errors import ConfigError


def open_loop(**values):
    return OpenLoop(**({"name": "drawn", "concurrency": None, "source": find_workload("reference")} | values))


@pytest.mark.parametrize("burstiness", [0.3, 1.0, 4.0])
def test_gaps_have_the_rate_and_the_shape_asked_for(burstiness):
    arrivals = open_loop(request_rate=5.0, burstiness=burstiness).arrivals(4000)
    gaps = np.diff(arrivals)
    assert arrivals[0] == 0
    assert gaps.mean() == pytest.approx(1 / 5, rel=0.1)
    assert gaps.std() / gaps.mean() == pytest.approx(1 / np.sqrt(burstiness), rel=0.1)
    assert kstest(gaps, gamma(burstiness, scale=1 / (5 * burstiness)).cdf).pvalue > 0.01


@given(st.floats(0.1, 100), st.floats(0.1, 10), st.integers(0, 5), st.integers(1, 50))
def test_arrivals_are_in_order_and_the_same_when_asked_again(request_rate, burstiness, seed, count):
    workload = open_loop(request_rate=request_rate, burstiness=burstiness, seed=seed)
    arrivals = workload.arrivals(count)
    assert len(arrivals) == count
    assert arrivals == sorted(arrivals) == workload.arrivals(count)
    assert (
        arrivals[1:5] != open_loop(request_rate=request_rate, seed=seed + 1).arrivals(count)[1:5]
        or count == 1
    )


@pytest.mark.parametrize("name", [name for name, w in WORKLOADS.items() if not isinstance(w, TextWorkload)])
def test_any_workload_can_arrive(name):
    closed, workload = find_workload(name), changed_workload(name, request_rate=3.0, burstiness=2.0)
    assert workload.concurrency is None
    assert "3 arriving per second with burstiness 2" in workload.summary
    assert workload.max_context == closed.max_context
    requests = workload.requests(1000, 1)
    starting = [request for request in requests if request.after is None]
    assert [request.arrival for request in starting] == workload.arrivals(len(starting))
    assert [(r.prompt, r.output_len, r.after) for r in requests] == [
        (r.prompt, r.output_len, r.after) for r in closed.requests(1000, 1)
    ]


def test_texts_can_arrive_too():
    workload = changed_workload("standard-prompts", request_rate=1.0).with_tokenizer(lambda text: [1, 2])
    requests = workload.requests(10, 0)
    assert [request.prompt for request in requests] == [(1, 2)] * 3
    assert 0 == requests[0].arrival < requests[1].arrival < requests[2].arrival


def test_arrivals_and_requests_are_changed_together():
    changed = changed_workload("poisson", request_rate=7.0, num_requests=3, concurrency=2)
    assert (changed.request_rate, changed.source.num_requests, changed.concurrency) == (7.0, 3, 2)
    assert changed.name == "poisson-changed"
    assert len(changed.requests(100, 0)) == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"request_rate": 0}, "request_rate is 0; it must be above 0"),
        ({"request_rate": float("inf")}, "request_rate is inf"),
        ({"request_rate": 1.0, "burstiness": -1}, "burstiness is -1"),
        ({"burstiness": 2.0}, "give a request rate"),
    ],
)
def test_what_cannot_arrive_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        changed_workload("reference", **values)
