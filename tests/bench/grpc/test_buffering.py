"""Messages per token and the first one's delay, from a client whose streams are as the test says."""

import asyncio

import pytest

from gradus.bench.clients.grpc_streams import MessageStream
from gradus.bench.grpc.buffering import first_messages, messages_per_token
from gradus.errors import RequestFailedError
from gradus.server.grpc.proto import StreamPredictResponse


class FakeClient:
    """A server that holds the first message back by `delay` seconds where it buffers."""

    def __init__(self, delay=0.0, num_messages=4, error=None):
        self.interval = "50"
        self.intervals = []
        self.delay, self.num_messages, self.error = delay, num_messages, error

    async def streaming(self, **changes):
        self.interval = changes["grpc_flush_interval_ms"]
        return changes

    async def ask(self, prompt, max_tokens, **generation):
        assert generation == {"ignore_eos": True}
        self.intervals.append(self.interval)
        messages = [StreamPredictResponse(index=i, tokens_per_sec=10) for i in range(self.num_messages)]
        messages[-1].usage.completion_tokens = max_tokens
        first = 0.01 + (0 if self.interval == "0" else self.delay)
        return MessageStream(first_seconds=first, messages=messages, error=self.error)


def test_messages_are_divided_by_the_tokens_that_the_server_counts():
    found = asyncio.run(messages_per_token(FakeClient(num_messages=4), 8, 32, 1))
    assert (found["num_messages"], found["num_tokens"]) == (8 * 4, 8 * 32)
    assert found["messages_per_token"] == 4 / 32


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.05])
def test_a_delay_of_the_buffer_is_the_delay_that_is_found(delay):
    client = FakeClient(delay)
    for number in range(4):
        pair = asyncio.run(first_messages(client, number, "50"))
        assert pair == {"buffered_ms": pytest.approx(10 + delay * 1e3), "unbuffered_ms": pytest.approx(10)}
        assert client.interval == "50"  # left as it was
    orders = [tuple(client.intervals[i : i + 2]) for i in range(0, 8, 2)]
    assert set(orders) == {("0", "50"), ("50", "0")}  # neither is always first


@pytest.mark.parametrize(
    "measure", [lambda c: messages_per_token(c, 2, 8, 0), lambda c: first_messages(c, 0, "50")]
)
def test_a_stream_that_fails_is_no_measurement(measure):
    with pytest.raises(RequestFailedError, match="UNAVAILABLE"):
        asyncio.run(measure(FakeClient(error="UNAVAILABLE: gone")))
