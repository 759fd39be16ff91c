"""What is taken for the time in the buffer: with one that works, and with one that holds texts back."""

import asyncio

from gradus.bench.grpc import in_buffer
from gradus.bench.grpc.in_buffer import times_in_buffer
from gradus.server.streaming import EVERY_TOKEN, Granularity


def test_every_stream_has_its_time():
    times = asyncio.run(times_in_buffer(Granularity(max_tokens=32), 6, 3, 4))
    assert len(times) == 6
    assert min(times) > 0


def test_a_buffer_that_held_the_first_text_back_would_be_seen(monkeypatch):
    async def held_back(batches, granularity):
        async for batch in batches:
            await asyncio.sleep(0.02)
            yield batch

    monkeypatch.setattr(in_buffer, "join_deltas", held_back)
    assert min(asyncio.run(times_in_buffer(EVERY_TOKEN, 2, 2, 2))) >= 0.02
