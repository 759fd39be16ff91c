"""The gRPC client: what holds of a stream's messages, and our own server's."""

import asyncio

import pytest

from gradus.bench.clients.grpc_streams import GrpcClient, MessageStream
from gradus.server.grpc.proto import StreamPredictResponse


def stream(*messages):
    return MessageStream(messages=[StreamPredictResponse(index=i, end_of_stream=end) for i, end in messages])


@pytest.mark.parametrize(
    ("messages", "has_every_index", "has_one_end"),
    [
        ([(0, False), (1, False), (2, True)], True, True),
        ([(0, True)], True, True),
        ([(0, False), (2, True)], False, True),
        ([(1, False), (0, True)], False, True),
        ([(1, True)], False, True),
        ([(0, False), (1, False)], True, False),
        ([(0, True), (1, True)], True, False),
        ([(0, True), (1, False)], True, False),
        ([], True, False),
    ],
)
def test_indexes_count_and_one_message_is_the_end(messages, has_every_index, has_one_end):
    found = stream(*messages)
    assert (found.has_every_index, found.has_one_end) == (has_every_index, has_one_end)


def test_our_own_server_streams_refuses_and_is_told_how_to_stream(own_server):
    async def run():
        async with GrpcClient(own_server.grpc_address) as client:
            before = await client.streaming()
            changed = await client.streaming(grpc_flush_interval_ms="0", stream_chunk_size="1")
            single = await client.ask("one two", 9, ignore_eos=True)
            await client.streaming(**before)
            refused = await client.ask("one two", 9, temperature=-1.0)
            return before, changed, single, refused

    before, changed, single, refused = asyncio.run(run())
    assert before["grpc_flush_interval_ms"] == "50"
    assert (changed["grpc_flush_interval_ms"], changed["stream_chunk_size"]) == ("0", "1")
    assert single.error is None
    assert single.num_tokens == 9
    assert single.has_every_index
    assert single.has_one_end
    assert single.first_seconds > 0
    assert refused.error.startswith("INVALID_ARGUMENT: temperature")
