"""The comparison's rows."""

import pytest

from gradus.bench.peers.rows import PEER_ENGINES, ROWS, find_rows
from gradus.errors import ConfigError


def test_rows_are_found_by_name_in_the_order_given():
    assert [row.name for row in find_rows("wide, ttft")] == ["wide", "ttft"]
    assert find_rows("all") == list(ROWS.values())
    with pytest.raises(ConfigError, match="decode-4bit"):
        find_rows("wide,no-such-row")


def test_every_row_compares_gradus_with_a_peer():
    for row in ROWS.values():
        assert row.ours.engine.startswith("gradus")
        assert row.peers
        assert all(peer.engine in PEER_ENGINES for peer in row.peers)
        over_http = [side.engine.endswith("-server") for side in row.sides]
        assert len(set(over_http)) == 1, f"{row.name} compares a server with what is none"


@pytest.mark.parametrize(
    ("name", "numbers", "ours", "peers"),
    [
        ("decode-4bit", (1, 1, 32, 128), "gradus 4-bit", {"llama.cpp q4_0.gguf"}),
        ("decode-8bit", (1, 1, 32, 128), "gradus 8-bit", {"llama.cpp q8_0.gguf"}),
        ("ttft", (3, 1, 32, 1), "gradus 4-bit", {"llama.cpp q4_0.gguf"}),
        ("reference", (40, 8, 32, 50), "gradus 4-bit", {"openvino openvino-int8"}),
        ("reference-http", (40, 8, 32, 50), "gradus-server 4-bit", {"llama.cpp-server q4_0.gguf"}),
        ("prefill-512", (1, 1, 512, 1), "gradus 4-bit", {"openvino openvino-int8"}),
        ("prefill-2048", (1, 1, 2048, 1), "gradus 4-bit", {"openvino openvino-int8"}),
        ("wide", (16, 16, 128, 128), "gradus 4-bit", {"openvino openvino-int8", "llama.cpp q4_0.gguf"}),
        ("reference-q4_k_m", (40, 8, 32, 50), "gradus q4_k_m.gguf", {"llama.cpp q4_k_m.gguf"}),
        (
            "reference-q4_k_m-http",
            (40, 8, 32, 50),
            "gradus-server q4_k_m.gguf",
            {"llama.cpp-server q4_k_m.gguf"},
        ),
        ("startup", (1, 1, 8, 1), "gradus 4-bit", {"llama.cpp q4_0.gguf"}),
        ("startup-http", (1, 1, 8, 1), "gradus-server 4-bit", {"llama.cpp-server q4_0.gguf"}),
        ("memory", (8, 8, 960, 64), "gradus 4-bit", {"llama.cpp q4_0.gguf"}),
        ("long-context-decode", (1, 1, 4096, 64), "gradus 4-bit", {"openvino openvino-int8"}),
        ("long-context-ttft", (1, 1, 4096, 64), "gradus 4-bit", {"openvino openvino-int8"}),
    ],
)
def test_each_row_is_measured_as_it_is_documented(name, numbers, ours, peers):
    row, workload = ROWS[name], ROWS[name].workload
    found = (workload.num_requests, workload.concurrency, workload.input_len, workload.output_len)
    assert found == numbers
    assert row.ours.label == ours
    assert peers <= {peer.label for peer in row.peers}


@pytest.mark.parametrize(
    ("name", "lower"), [("ttft", True), ("memory", True), ("startup", True), ("wide", False)]
)
def test_which_direction_is_better(name, lower):
    assert ROWS[name].lower_is_better is lower
