"""Lengths drawn evenly: the published benchmark's own, and what holds of any range."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, uniform

from gradus.bench.workloads.registry import find_workload
from gradus.bench.workloads.uniform import UniformWorkload
from gradus.errors import ConfigError


@st.composite
def workloads(draw):
    def ends():
        return sorted(draw(st.lists(st.integers(1, 60), min_size=2, max_size=2)))

    (least_in, most_in), (least_out, most_out) = ends(), ends()
    return UniformWorkload(
        name="drawn",
        concurrency=None,
        num_requests=draw(st.integers(1, 30)),
        min_input_len=least_in,
        max_input_len=most_in,
        min_output_len=least_out,
        max_output_len=most_out,
        seed=draw(st.integers(0, 9)),
    )


def lengths(requests):
    return [(len(request.prompt), request.output_len) for request in requests]


def test_nano_has_the_lengths_of_the_published_benchmark():
    requests = find_workload("nano").requests(50_000, 0)
    assert len(requests) == 256
    assert sum(request.output_len for request in requests) == 133_966  # the README's table
    found = lengths(requests)
    assert {min(min(pair) for pair in found), max(max(pair) for pair in found)} <= set(range(100, 1025))


def test_lengths_are_spread_evenly():
    inputs, outputs = zip(*lengths(find_workload("nano").requests(100, 0)), strict=True)
    for values in (inputs, outputs):
        assert kstest(values, uniform(100, 924).cdf).pvalue > 0.01


@given(workloads(), st.integers(0, 3))
def test_lengths_stay_in_their_ranges_and_are_those_of_every_round(workload, round_index):
    requests = workload.requests(500, round_index)
    assert requests == workload.requests(500, round_index)
    assert lengths(requests) == lengths(workload.requests(500, round_index + 1))
    assert len(requests) == workload.num_requests
    for request in requests:
        assert workload.min_input_len <= len(request.prompt) <= workload.max_input_len
        assert workload.min_output_len <= request.output_len <= workload.max_output_len
        assert all(0 <= token < 500 for token in request.prompt)
        assert request.context <= workload.max_context


def test_rounds_have_other_tokens():
    workload = find_workload("nano-cpu")
    first, second = (workload.requests(50_000, index) for index in range(2))
    assert all(a.prompt[:3] != b.prompt[:3] for a, b in zip(first, second, strict=True))


def test_a_range_upside_down_is_refused():
    with pytest.raises(ConfigError, match="max_input_len is 10; it must be min_input_len, 25"):
        find_workload("nano-cpu").changed(max_input_len=10)
