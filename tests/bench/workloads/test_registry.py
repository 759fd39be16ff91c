"""Every named workload can be run, is what its name says, and can be changed."""

import json

import pytest

from gradus.bench.workloads.registry import NAMES, changed_workload, find_workload
from gradus.errors import ConfigError

CPU_SECONDS = 180
PROMPT_RATE, DECODE_RATE = 500, 350  # tokens per second of the 0.6B shape in 4 bits on two cores, roughly


@pytest.mark.parametrize("name", NAMES)
def test_every_workload_has_requests_within_its_context(name):
    workload = find_workload(name).with_tokenizer(lambda text: [1] * len(text))
    requests = workload.requests(1000, 0)
    assert requests
    assert max(request.context for request in requests) <= workload.max_context
    assert all(request.prompt and request.output_len >= 1 for request in requests)
    assert all(request.after is None or request.after < index for index, request in enumerate(requests))
    assert str(len(requests)) in workload.summary or "conversations" in workload.summary
    json.dumps(workload.as_dict())


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-cpu")])
def test_what_is_scaled_down_for_cpus_is_done_in_minutes(name):
    assert name.removesuffix("-cpu") in NAMES
    requests = find_workload(name).requests(1000, 0)
    seconds = sum(len(r.prompt) / PROMPT_RATE + r.output_len / DECODE_RATE for r in requests)
    assert seconds < CPU_SECONDS


def test_uniform_512_is_256_requests_of_512_in_and_out_all_at_once():
    workload = find_workload("uniform-512")
    numbers = (workload.num_requests, workload.concurrency, workload.input_len, workload.output_len)
    assert numbers == (256, 256, 512, 512)


def test_a_changed_workload_says_so_in_its_name_once():
    changed = changed_workload("nano", num_requests=3).changed(max_output_len=200)
    assert (changed.name, changed.num_requests, changed.max_output_len) == ("nano-changed", 3, 200)
    assert changed_workload("nano", num_requests=None) is find_workload("nano")


@pytest.mark.parametrize(
    ("name", "numbers", "said"),
    [
        ("nano", {"input_len": 7}, "nano has no input_len to change; it has concurrency, num_requests"),
        ("nano", {"num_requests": 2.5}, "num_requests is 2.5; it must be a whole number"),
        ("nano", {"concurrency": 0}, "concurrency is 0; it must be 1 or more"),
        ("poisson", {"num_turns": 3}, "poisson has no num_turns"),
        ("multi-turn", {"num_turns": 0}, "num_turns is 0"),
        ("none-such", {}, "there is no workload 'none-such'; there are reference"),
    ],
)
def test_what_cannot_be_changed_is_refused(name, numbers, said):
    with pytest.raises(ConfigError, match=said):
        changed_workload(name, **numbers)
