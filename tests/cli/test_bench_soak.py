"""`gradus bench soak` as a user runs it."""

import json

from tests.cli.harness import gradus


def test_a_server_is_loaded_watched_and_empty_in_the_end():
    ran = gradus("bench", "soak", "demo", "--duration", "4s", "--request-rate", "20")
    assert ran.returncode == 0, ran.stderr
    *table, last = ran.stdout.splitlines()
    document = json.loads(last)
    for words in ("streamed_chat", "of which 0 failed", "memory", "open files", "threads"):
        assert any(words in line for line in table)
    assert set(document["verification"].values()) == {True}
    results = document["results"]
    assert sum(kind["count"] for kind in results["latency_seconds"].values()) == results["num_sent"] > 0
    assert set(results["growth"]) == {"resident_bytes", "open_files", "threads"}
    assert document["runs"][-1] == results["last_sample"]
    assert "4 s" in ran.stderr or "10 of 10" in ran.stderr


def test_no_load_is_refused():
    ran = gradus("bench", "soak", "--duration", "0")
    assert ran.returncode == 2
    assert "duration is 0" in ran.stderr
