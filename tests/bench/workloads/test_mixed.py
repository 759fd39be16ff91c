"""Mixed requests: their lengths, who begins alike, and the long one in the middle."""

import pytest

from gradus.bench.workloads.mixed import MixedWorkload
from gradus.errors import ConfigError

WORKLOAD = MixedWorkload(
    name="small",
    concurrency=None,
    num_requests=12,
    prefix_len=20,
    min_input_len=4,
    max_input_len=8,
    min_output_len=2,
    max_output_len=6,
    long_input_len=100,
)


def test_three_of_four_begin_alike_and_the_one_in_the_middle_is_long():
    prompts = [list(request.prompt) for request in WORKLOAD.requests(50_000, 1)]
    assert len(prompts[6]) == 100
    alike = [index for index, prompt in enumerate(prompts) if prompt[:20] == prompts[1][:20]]
    assert alike == [1, 2, 3, 5, 7, 9, 10, 11]
    assert all(24 <= len(prompts[index]) <= 28 for index in alike)
    assert all(4 <= len(prompts[index]) <= 8 for index in (0, 4, 8))


def test_lengths_are_those_of_every_round_and_tokens_are_not():
    first, second = (WORKLOAD.requests(50_000, index) for index in (1, 2))
    lengths = [[(len(r.prompt), r.output_len) for r in requests] for requests in (first, second)]
    assert lengths[0] == lengths[1]
    assert len({output for _, output in lengths[0]}) > 1
    assert not {tuple(r.prompt) for r in first} & {tuple(r.prompt) for r in second}
    assert max(r.context for r in first) <= WORKLOAD.max_context
    assert "12 requests" in WORKLOAD.summary


def test_an_empty_range_is_refused():
    with pytest.raises(ConfigError, match="max_output_len is 1"):
        WORKLOAD.changed(max_output_len=1)
