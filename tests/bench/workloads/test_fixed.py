"""Workloads: what the names stand for, and that no two prompts have anything in common."""

import pytest

from gradus.bench.workloads.fixed import FixedWorkload
from gradus.bench.workloads.registry import FIXED_WORKLOADS, find_workload
from gradus.errors import ConfigError


def test_the_reference_is_forty_requests_eight_at_a_time():
    reference = find_workload("reference")
    numbers = (reference.num_requests, reference.concurrency, reference.input_len, reference.output_len)
    assert numbers == (40, 8, 32, 50)
    assert reference.context == 82


def test_wide_is_sixteen_at_once():
    wide = find_workload("wide")
    assert (wide.num_requests, wide.concurrency, wide.input_len, wide.output_len) == (16, 16, 128, 128)


@pytest.mark.parametrize("name", FIXED_WORKLOADS)
def test_prompts_are_distinct_also_between_rounds_and_the_same_when_asked_again(name):
    workload = FIXED_WORKLOADS[name]
    rounds = [workload.prompts(50_000, index) for index in range(2)]
    prompts = [tuple(prompt) for prompts in rounds for prompt in prompts]
    assert len(set(prompts)) == 2 * workload.num_requests
    assert len({prompt[:3] for prompt in prompts}) == len(prompts)  # no prefix that a cache could find
    assert {len(prompt) for prompt in prompts} == {workload.input_len}
    assert all(0 <= token < 50_000 for prompt in prompts for token in prompt)
    assert workload.prompts(50_000, 1) == rounds[1]


def test_a_changed_workload_has_another_name_and_one_that_is_not_keeps_its_own():
    reference = find_workload("reference")
    assert reference.changed(input_len=None) == reference
    changed = reference.changed(input_len=7, concurrency=2)
    assert changed == FixedWorkload(name="fixed", num_requests=40, concurrency=2, input_len=7, output_len=50)


def test_what_cannot_be_run_is_refused():
    with pytest.raises(ConfigError, match="reference"):
        find_workload("no such")
    with pytest.raises(ConfigError, match="output_len is 0"):
        find_workload("reference").changed(output_len=0)
