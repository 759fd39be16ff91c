"""How many requests begin alike, and for how long."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.bench.workloads.registry import find_workload
from gradus.bench.workloads.shared_prefix import SharedPrefixWorkload
from gradus.errors import ConfigError


@given(
    num_requests=st.integers(1, 40),
    input_len=st.integers(10, 40),
    share_of_requests=st.floats(0, 1),
    share_of_prompt=st.floats(0.3, 1),  # long enough not to be alike by chance
    round_index=st.integers(0, 3),
)
def test_the_shares_are_those_asked_for(
    num_requests, input_len, share_of_requests, share_of_prompt, round_index
):
    workload = SharedPrefixWorkload(
        name="drawn",
        concurrency=2,
        num_requests=num_requests,
        input_len=input_len,
        output_len=3,
        share_of_requests=share_of_requests,
        share_of_prompt=share_of_prompt,
    )
    requests = workload.requests(1_000_000, round_index)
    assert requests == workload.requests(1_000_000, round_index)
    assert {(len(request.prompt), request.output_len) for request in requests} == {(input_len, 3)}
    prefix_len = round(share_of_prompt * input_len)
    beginnings = Counter(tuple(request.prompt[:prefix_len]) for request in requests)
    sharing = round(share_of_requests * num_requests)
    assert sorted(beginnings.values())[-1] == max(sharing, 1)
    assert len(beginnings) == num_requests - max(sharing - 1, 0)
    if prefix_len < input_len and sharing > 1:  # and no further
        common = beginnings.most_common(1)[0][0]
        following = [r.prompt[prefix_len] for r in requests if tuple(r.prompt[:prefix_len]) == common]
        assert len(set(following)) > 1


def test_seventy_of_a_hundred_share_four_fifths_and_stand_anywhere():
    workload = find_workload("shared-prefix")
    assert (workload.num_requests, workload.num_sharing, workload.prefix_len) == (100, 70, 410)
    requests = workload.requests(50_000, 1)
    (common, count), *_ = Counter(request.prompt[0] for request in requests).most_common()
    assert count == 70
    assert 0 < sum(request.prompt[0] == common for request in requests[:50]) < 50
    assert workload.requests(50_000, 2)[0].prompt != requests[0].prompt


def test_a_share_above_one_is_refused():
    with pytest.raises(ConfigError, match=r"share_of_prompt is 80; it must be from 0 to 1"):
        find_workload("shared-prefix").changed(share_of_prompt=80)
