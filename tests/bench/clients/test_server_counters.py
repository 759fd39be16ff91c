"""Reading a server's own counters: ours in person, and servers that have none."""

import asyncio

import httpx
import pytest

from gradus.bench.clients.completions import open_http
from gradus.bench.clients.server_counters import ServerCounters, read_counters, settled_counters


def read(answer):
    async def run():
        transport = httpx.MockTransport(lambda request: answer)
        async with httpx.AsyncClient(base_url="http://scripted", transport=transport) as http:
            return await read_counters(http)

    return asyncio.run(run())


def test_counters_are_summed_over_their_labels_but_messages_told_apart():
    text = "\n".join(
        [
            "# TYPE gradus:request_success counter",
            'gradus:request_success_total{finished_reason="stop"} 2.0',
            'gradus:request_success_total{finished_reason="length"} 3.0',
            "# TYPE gradus:grpc_messages counter",
            'gradus:grpc_messages_total{direction="received"} 7.0',
            'gradus:grpc_messages_total{direction="sent"} 11.0',
            "# TYPE gradus:num_requests_running gauge",
            "gradus:num_requests_running 1.0",
        ]
    )
    counters = read(httpx.Response(200, text=text + "\n"))
    assert (counters.request_success_total, counters.grpc_messages_sent) == (5, 11)
    assert not counters.is_idle
    assert counters.left == {
        "num_requests_running": 1.0,
        "num_requests_waiting": 0.0,
        "kv_cache_usage_perc": 0.0,
    }


@pytest.mark.parametrize(
    "answer", [httpx.Response(404), httpx.Response(401), httpx.Response(200, text="vllm:x 1\n")]
)
def test_a_server_without_them_counts_nothing(answer):
    assert read(answer) is None


def test_every_counter_is_one_that_our_server_has(own_server):
    async def run():
        async with open_http(own_server.url) as http:
            return (await http.get("/metrics")).text, await settled_counters(http)

    text, counters = asyncio.run(run())
    assert counters.is_idle
    for name in ServerCounters.__slots__:
        assert f"gradus:{name.removesuffix('_sent')}" in text
