"""Our histogram against prometheus_client's own."""

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gradus.server.observe.histogram import SECONDS, TOKENS, Histogram

VALUES = st.one_of(st.floats(0, 200), st.sampled_from(SECONDS))


@given(st.lists(st.tuples(VALUES, st.integers(1, 4)), max_size=40))
def test_observations_are_classed_and_summed_as_prometheus_does(observed):
    ours = Histogram(SECONDS)
    theirs = prometheus_client.Histogram("h", "", buckets=SECONDS, registry=CollectorRegistry())
    for value, times in observed:
        ours.observe(value, times)
        for _ in range(times):
            theirs.observe(value)
    samples = next(iter(theirs.collect())).samples
    buckets = [sample.value for sample in samples if sample.name == "h_bucket"]
    assert [sum(ours.counts[: i + 1]) for i in range(len(ours.counts))] == buckets
    (total,) = (sample.value for sample in samples if sample.name == "h_sum")
    assert abs(ours.sum - total) <= 1e-9 * max(1.0, total)


def test_bounds_ascend():
    for bounds in (SECONDS, TOKENS):
        assert list(bounds) == sorted(set(bounds))
