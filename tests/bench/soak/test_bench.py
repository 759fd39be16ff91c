"""The evidence of a soak from its log: each claim fails where it should."""

import json
from dataclasses import replace

import pytest

from gradus.bench.clients.server_counters import ServerCounters
from gradus.bench.evidence import to_line
from gradus.bench.soak.bench import NUM_KV_BLOCKS, to_evidence, with_small_pool
from gradus.bench.soak.load import Ended, Log, SoakOptions
from gradus.config import EngineConfig

EMPTY = ServerCounters(9, 9, 9, 9, 9, 0, 0, 0)
LOG = Log(
    num_sent=30,
    ended=[Ended("whole_chat", 2.0 * i, 1.0 + i % 2) for i in range(30)],
    samples=[{"seconds": float(i), "resident_bytes": 1000 + i} for i in range(60)],
)


def document(log=LOG, left=EMPTY, status=0):
    return json.loads(to_line(to_evidence(EngineConfig(), SoakOptions(), log, left, status)))


def test_what_was_seen_is_summed_up():
    found = document()
    results = found["results"]
    assert results["latency_seconds"]["whole_chat"]["count"] == 30
    assert results["latency_drift"]["kinds"] == {"whole_chat": 1.0}
    assert results["growth"]["resident_bytes"]["per_hour"] == pytest.approx(3600)
    assert set(results["growth"]) == {"resident_bytes"}  # nothing else was sampled
    assert found["runs"] == LOG.samples
    assert set(found["verification"].values()) == {True}


FAILURE = {"kind": "whole_chat", "error": "no"}


@pytest.mark.parametrize(
    ("changes", "not_so"),
    [
        ({"log": replace(LOG, num_sent=31)}, {"every_request_ended"}),
        ({"log": replace(LOG, num_sent=31, failures=[FAILURE])}, {"nothing_failed"}),
        ({"left": replace(EMPTY, num_requests_running=1)}, {"the_engine_is_empty"}),
        ({"left": replace(EMPTY, kv_cache_usage_perc=0.01)}, {"the_engine_is_empty"}),
        ({"left": None}, {"the_engine_is_empty"}),
        ({"status": -9}, {"the_server_ended_in_order"}),
    ],
)
def test_each_claim_fails_where_it_should(changes, not_so):
    checks = document(**changes)["verification"]
    assert {name for name, holds in checks.items() if not holds} == not_so


def test_the_pool_is_small_unless_its_size_is_given():
    assert with_small_pool(EngineConfig()).num_kv_blocks == NUM_KV_BLOCKS
    for given in ({"num_kv_blocks": 9}, {"kv_cache_memory_bytes": 2**25}, {"kv_layout": "contiguous"}):
        config = EngineConfig(**given)
        assert with_small_pool(config) == config
