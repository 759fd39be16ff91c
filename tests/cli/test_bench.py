"""`gradus bench` as a user runs it: a table, then one line of evidence. Numbers vary; their sums do not."""

import json

import pytest

from gradus.cli.bench import BENCHES
from tests.cli.harness import gradus


def evidence(*arguments):
    ran = gradus("bench", *arguments)
    assert ran.returncode == 0, ran.stderr
    *table, last = ran.stdout.splitlines()
    assert len(table) > 2
    return table, json.loads(last)


def test_throughput_shows_runs_latencies_and_steps(tiny_model_path):
    lengths = ["--input-len", "9", "--output-len", "5", "--num-requests", "4", "--concurrency", "2"]
    flags = ["--runs", "2", "--no-utilization"]
    table, document = evidence("throughput", tiny_model_path, *flags, *lengths)
    for word in ("output tok/s", "median", "TTFT", "TPOT", "ITL", "E2E", "decode"):
        assert any(word in line for line in table)
    assert document["parameters"]["workload"]["name"] == "fixed"
    assert document["parameters"]["enable_prefix_caching"] is False
    steps = document["results"]["steps"].values()
    assert sum(kind.get("num_decode_tokens", 0) for kind in steps) == 2 * 4 * 4


def test_throughput_shows_what_was_found_and_kept(tiny_model_path):
    flags = ["--workload", "shared-prefix", "--num-requests", "10", "--input-len", "200", "--output-len", "2"]
    flags += ["--workload-option", "share-of-prompt=0.5", "--concurrency", "1"]
    more = ["--enable-prefix-caching", "--goodput", "ttft:60000", "--runs", "1", "--no-utilization"]
    table, document = evidence("throughput", tiny_model_path, *flags, *more)
    prefix = 96  # the whole blocks of 16 in the shared 100 tokens
    assert any(f"prefix cache: {6 * prefix} of 2,000 prompt tokens found" in line for line in table)
    assert any(line.startswith("goodput ") for line in table)
    results = document["results"]
    assert results["good_requests_per_second"] == results["requests_per_second"]
    assert "utilization" not in results


def test_latency_shows_a_batchs_percentiles(tiny_model_path):
    flags = ["--batch-size", "2", "--input-len", "9", "--output-len", "4", "--num-iters", "2"]
    table, document = evidence("latency", tiny_model_path, *flags, "--num-iters-warmup", "0")
    for word in ("latency, mean", "LATENCY p10", "TTFT", "decode"):
        assert any(word in line for line in table)
    assert document["parameters"]["batch_size"] == 2
    assert len(document["runs"]) == 2


def test_the_ladder_shows_each_rungs_losses(tmp_path):
    lengths = ["--input-len", "9", "--output-len", "5", "--num-requests", "4", "--concurrency", "2"]
    output = tmp_path / "ladder.json"
    table, document = evidence(
        "ladder", "demo", "--runs", "1", "--rungs", "2,8", *lengths, "--output", output
    )
    assert [line.split()[:2] for line in table[-3:]] == [["0", "kernels:"], ["2", "runner:"], ["8", "HTTP"]]
    for word in ("loss to 0", "to below", "CPU ms"):
        assert word in table[-4]
    assert json.loads(output.read_text()) == document
    assert document["results"]["rungs"][1]["num_steps"]["median"] == 10


def test_decode_shows_every_run_and_says_whether_they_repeat(tiny_model_path):
    table, document = evidence("decode", tiny_model_path, "--runs", "2", "--output-tokens", "8")
    assert [line.split()[0] for line in table[-5:]] == ["run", "1", "2", "median", "measured"]
    assert document["verification"]["repeats"]["tolerance"] == 0.05
    assert [run["num_tokens"] for run in document["runs"]] == [8, 8]


def test_roofline_shows_ceilings_and_operations(tiny_model_path):
    flags = ["--streams", "1,3", "--prefill", "20", "--context", "10", "--repetitions", "2"]
    table, document = evidence("roofline", tiny_model_path, *flags)
    for word in ("memory read, GB/s", "decode 3", "prefill 20", "of bound", "attention"):
        assert any(word in line for line in table)
    assert [step["step"]["num_seqs"] for step in document["results"]["steps"]] == [1, 3, 1]
    assert "within" in document["verification"]["repeats"]


def test_peers_that_are_not_there_are_said_to_be_absent_and_the_file_is_written(tmp_path, tiny_model_path):
    output = tmp_path / "peers.json"
    flags = ["--weights", tmp_path, "--rounds", "2", "--rows", "ttft", "--output", output]
    ran = gradus("bench", "peers", tiny_model_path, *flags)
    assert ran.returncode == 1  # it is no comparison
    assert "every side was measured" in ran.stderr
    document = json.loads(ran.stdout.splitlines()[-1])
    assert json.loads(output.read_text()) == document
    assert set(document["results"]["ttft"]["sides"]) == {"gradus 4-bit"}
    assert document["results"]["ttft"]["ratios"] == {}
    assert "--peer" in document["verification"]["absent"]["ttft: llama.cpp q4_0.gguf"]
    assert "not measured: ttft: llama.cpp q4_0.gguf: no --peer" in ran.stdout
    assert document["parameters"]["time_limit_seconds"] == 600


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["throughput", "demo", "--workload", "none-such"], "reference"),
        (["throughput", "demo", "--workload-option", "concurrency=many"], "NAME=NUMBER"),
        (["throughput", "demo", "--workload", "nano", "--input-len", "9"], "nano has no input_len"),
        (["throughput", "demo", "--goodput", "itl:9"], "ttft, tpot, e2el"),
        (["throughput", "demo", "--burstiness", "2"], "request rate"),
        (["latency", "demo", "--num-iters", "0"], "1 or more"),
        (["roofline", "demo", "--streams", "1,x"], "commas"),
        (["peers", "demo", "--weights", ".", "--peer", "llama.cpp"], "NAME=PYTHON"),
        (["peers", "demo", "--weights", ".", "--rows", "none-such"], "decode-4bit"),
        (["peers", "demo", "--weights", ".", "--rounds", "0"], "1 or more"),
        (["peers", "demo", "--weights", ".", "--time-limit", "0"], "time_limit is 0 minutes"),
        (["peers", "demo", "--weights", ".", "--time-limit", "nan"], "time_limit is nan minutes"),
        (["peers", "demo", "--weights", "./none-such"], "none-such, which is no folder"),
        (["ladder", "demo", "--rungs", "12"], "numbers from 0 to 9"),
        (["ladder", "demo", "--peer", "vllm=python"], "llama.cpp=PYTHON"),
        (["ladder", "demo", "--prefix-caching"], "leave --prefix-caching out"),
        (["ladder", "demo", "--runs", "0"], "1 or more"),
        (["ladder", "demo", "--workload", "multi-turn-cpu"], "after one another"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(arguments, said):
    ran = gradus("bench", *arguments)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_every_bench_says_what_it_is_for():
    for name in BENCHES:
        ran = gradus("bench", name, "--help")
        assert ran.returncode == 0
        assert "usage" in ran.stdout
