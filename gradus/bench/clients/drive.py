"""Sends a workload's requests when they are due: so many at a time, as they arrive, or each after another."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gradus.bench.clients.answered import Answered
from gradus.bench.clients.completions import Clock
from gradus.bench.workloads.base import WorkloadRequest

Send = Callable[[WorkloadRequest, Clock], Awaitable[Answered]]


async def drive(
    requests: Sequence[WorkloadRequest], concurrency: int | None, send: Send, clock: Clock
) -> list[Answered]:
    """Every request's answer, in the order of the requests.

    A request is sent when it has arrived, the one that it comes after has ended, and fewer than `concurrency`
    are in flight (None: any number).
    """
    ended = [asyncio.Event() for _ in requests]
    gate = asyncio.Semaphore(len(requests) if concurrency is None else concurrency)

    async def one(index: int, request: WorkloadRequest) -> Answered:
        if request.after is not None:
            await ended[request.after].wait()
        await asyncio.sleep(max(0.0, request.arrival - clock()))
        async with gate:
            answered = await send(request, clock)
        ended[index].set()
        return answered

    return await asyncio.gather(*(one(index, request) for index, request in enumerate(requests)))
