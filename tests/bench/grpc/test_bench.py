"""The evidence from what was seen: each claim fails where it should, and nothing is claimed unseen."""

import json
from dataclasses import replace

import pytest

from gradus.bench.clients.server_counters import ServerCounters
from gradus.bench.evidence import to_line
from gradus.bench.grpc.bench import GrpcOptions, Measured, to_evidence
from gradus.bench.grpc.crowd import Crowd
from gradus.config import EngineConfig
from gradus.errors import ConfigError


def counters(tokens, messages):
    return ServerCounters(0, 0, tokens, 0, messages, 0, 0, 0)


CROWD = Crowd(3, num_streams=3, num_messages=30, num_tokens=300, seconds=2.0, first_seconds=[0.1, 0.2, 0.3])
MEASURED = Measured(
    streaming={"grpc_flush_interval_ms": "50"},
    runs=[{"messages_per_token": value, "tokens_per_second_of_a_stream": 100.0} for value in (0.1, 0.1)],
    pairs=[{"buffered_ms": 5.0 + i, "unbuffered_ms": 4.0 + i} for i in range(3)],
    in_buffer=[0.0001, 0.0002, 0.0003],
    crowd=CROWD,
    counters=(counters(1000, 50), counters(1300, 80)),
    usage=({"resident_bytes": 10}, {"resident_bytes": 11}),
)


def document(measured):
    return json.loads(to_line(to_evidence(EngineConfig(), GrpcOptions(), measured)))


def test_what_was_seen_is_summed_up():
    found = document(MEASURED)
    results = found["results"]
    assert results["first_message_added_ms"] == dict.fromkeys(("p50", "p90", "p99", "max"), 1.0)
    assert results["first_text_in_buffer_ms"]["p50"] == pytest.approx(0.2)
    assert results["connections"]["tokens_per_second"] == 150.0
    assert results["connections"]["first_message_seconds"]["median"] == 0.2
    assert results["first_message_ms"]["buffered"]["max"] == 7.0
    checks = found["verification"]
    checks.pop("repeats")
    assert set(checks.values()) == {True}


@pytest.mark.parametrize(
    ("changes", "not_so"),
    [
        ({"runs": [{**MEASURED.runs[0], "messages_per_token": 0.3}]}, "at_most_a_quarter"),
        ({"pairs": [{"buffered_ms": 9.0, "unbuffered_ms": 4.0}]}, "first_message_added_under_5_ms"),
        ({"in_buffer": [0.0001, 0.0051]}, "first_text_in_buffer_under_5_ms"),
        ({"crowd": replace(CROWD, num_without_every_index=1)}, "every_index"),
        ({"crowd": replace(CROWD, num_without_one_end=1)}, "exactly_one_end"),
        ({"crowd": replace(CROWD, num_texts_that_differ=1)}, "texts_equal"),
        ({"crowd": replace(CROWD, failures=["gone"])}, "no_stream_failed"),
        ({"crowd": replace(CROWD, num_tokens=299)}, "the_servers_own_counters_agree"),
        ({"crowd": replace(CROWD, num_messages=31)}, "the_servers_own_counters_agree"),
    ],
)
def test_each_claim_fails_where_it_should(changes, not_so):
    checks = document(replace(MEASURED, **changes))["verification"]
    failed = [name for name, holds in checks.items() if holds is False]
    assert len(failed) == 1
    assert failed[0].startswith(not_so)


@pytest.mark.parametrize(("messages_per_token", "holds"), [(0.5, True), (0.51, False)])
def test_where_tokens_come_slowly_the_timer_sends(messages_per_token, holds):
    """40 tokens a second are two in 50 ms; of 256 tokens the first and the last message are beside that."""
    run = {"messages_per_token": messages_per_token, "tokens_per_second_of_a_stream": 40.0}
    checks = document(replace(MEASURED, runs=[run]))["verification"]
    (found,) = (value for name, value in checks.items() if name.startswith("at_most_a_quarter"))
    assert found is holds


def test_what_cannot_be_known_is_absent():
    found = document(replace(MEASURED, counters=(None, None), crowd=replace(CROWD, first_seconds=[])))
    assert "the_servers_own_counters_agree" not in found["verification"]
    assert "first_message_seconds" not in found["results"]["connections"]


def test_nothing_to_measure_is_refused():
    with pytest.raises(ConfigError, match="num_pairs is 0"):
        GrpcOptions(num_pairs=0)
