"""`gradus bench grpc` as a user runs it."""

import json

from tests.cli.harness import gradus


def test_streams_are_measured_on_a_server_of_our_own():
    flags = ["--runs", "2", "--streams", "2", "--tokens", "64", "--pairs", "2", "--connections", "5"]
    ran = gradus("bench", "grpc", "demo", *flags, "--duration", "0.5s")
    *table, last = ran.stdout.splitlines()
    document = json.loads(last)
    for words in ("messages per token", "what the buffer adds", "gap in the index", "resident memory"):
        assert any(words in line for line in table)
    checks = document["verification"]
    assert checks.pop("repeats")["tolerance"] == 0.05
    delays_are_small = [checks.pop(name) for name in list(checks) if "under_5_ms" in name]
    assert set(checks.values()) == {True}
    assert len(delays_are_small) == 2
    assert ran.returncode == (0 if all(delays_are_small) else 1)
    assert len(document["runs"]) == 2 + 2
    assert document["results"]["connections"]["num_streams"] >= 5
    assert document["parameters"]["duration_seconds"] == 0.5


def test_no_streams_are_refused():
    ran = gradus("bench", "grpc", "--connections", "0")
    assert ran.returncode == 2
    assert "num_connections is 0" in ran.stderr
