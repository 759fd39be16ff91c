"""What the buffer saves and costs as a client sees it: messages per token, and the time to the first one."""

import asyncio
import random
from statistics import median
from typing import Any

from gradus.bench.clients.grpc_streams import GrpcClient, MessageStream
from gradus.errors import RequestFailedError

UNBUFFERED_MS = "0"  # the flush interval that sends each token at once
PAIR_TOKENS = 24


async def messages_per_token(
    client: GrpcClient, num_streams: int, num_tokens: int, run: int
) -> dict[str, Any]:
    """`num_streams` streams of `num_tokens` tokens at once: all their messages over all their tokens.

    Raises:
        RequestFailedError: a stream failed.
    """
    streams = await asyncio.gather(
        *(client.ask(f"{run} {i}", num_tokens, ignore_eos=True) for i in range(num_streams))
    )
    messages = [_checked(stream).messages for stream in streams]
    num_messages, generated = sum(map(len, messages)), sum(stream.num_tokens for stream in streams)
    return {
        "num_messages": num_messages,
        "num_tokens": generated,
        "messages_per_token": num_messages / generated,
        "tokens_per_second_of_a_stream": median(each[-1].tokens_per_sec for each in messages),
    }


async def first_messages(client: GrpcClient, number: int, buffered_ms: str) -> dict[str, float]:
    """One request buffered and one not, in drawn order: each one's milliseconds to its first message.

    Leaves the server with the flush interval that is given.

    Raises:
        RequestFailedError: a request failed.
    """
    intervals = {"buffered_ms": buffered_ms, "unbuffered_ms": UNBUFFERED_MS}
    found = {}
    for name in random.Random(number).sample(sorted(intervals), 2):
        await client.streaming(grpc_flush_interval_ms=intervals[name])
        stream = await client.ask(f"What is {number} + 25?", PAIR_TOKENS, ignore_eos=True)
        found[name] = _checked(stream).first_seconds * 1e3
    await client.streaming(grpc_flush_interval_ms=buffered_ms)
    return found


def _checked(stream: MessageStream) -> MessageStream:
    if stream.error is not None:
        raise RequestFailedError(f"gRPC: {stream.error}")
    return stream
