"""How long the first texts of streams stay in the server's buffer, measured in it and not from outside.

Streams take turns on one event loop in this process, as they do in the server's; their texts come on time.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gradus.server.streaming import Granularity, join_deltas
from gradus.text.output_processor import ChoiceDelta

TOKEN_SECONDS = 0.001  # between two tokens of a stream


async def times_in_buffer(
    granularity: Granularity, num_streams: int, num_at_a_time: int, num_tokens: int
) -> list[float]:
    """Seconds from a stream's first text coming to the buffer to its leaving it, of each stream."""
    seconds_apart = TOKEN_SECONDS * num_tokens / num_at_a_time

    async def one(number: int) -> float:
        await asyncio.sleep(number * seconds_apart)
        return await _time_of_one(granularity, num_tokens)

    return await asyncio.gather(*map(one, range(num_streams)))


async def _time_of_one(granularity: Granularity, num_tokens: int) -> float:
    came = left = 0.0

    async def deltas() -> AsyncGenerator[list[ChoiceDelta]]:
        nonlocal came
        came = time.perf_counter()
        for number in range(num_tokens):
            yield [ChoiceDelta(index=0, text="a", token_ids=[number])]
            await asyncio.sleep(TOKEN_SECONDS)

    async with aclosing(join_deltas(deltas(), granularity)) as batches:
        async for _ in batches:
            left = left or time.perf_counter()
    return left - came
