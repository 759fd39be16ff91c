"""Streams and one long prompt: it is sent while they run, whatever the engine's speed."""

import pytest

from gradus.bench.workloads.long_prompt import LongPromptWorkload
from gradus.errors import ConfigError

WORKLOAD = LongPromptWorkload(
    name="small", concurrency=None, num_streams=2, input_len=3, output_len=9, long_input_len=40
)


def test_the_long_prompt_waits_for_a_short_request_that_ends_before_the_streams_do():
    short, *streams, long = WORKLOAD.requests(100, 1)
    assert [(len(r.prompt), r.output_len, r.after) for r in streams] == [(3, 9, None)] * 2
    assert (len(long.prompt), long.output_len, long.after) == (40, 1, 0)
    assert len(short.prompt) == 3
    assert 0 < short.output_len < 9
    assert WORKLOAD.max_context == long.context == 41
    assert "40" in WORKLOAD.summary
    assert "2 streams" in WORKLOAD.summary


def test_rounds_differ_in_their_tokens_and_repeat_when_asked_again():
    first, second = ([tuple(r.prompt) for r in WORKLOAD.requests(50_000, index)] for index in (1, 2))
    assert not set(first) & set(second)
    assert [tuple(r.prompt) for r in WORKLOAD.requests(50_000, 1)] == first


def test_streams_too_short_to_be_running_then_are_refused():
    with pytest.raises(ConfigError, match="output_len is 4"):
        WORKLOAD.changed(output_len=4)
