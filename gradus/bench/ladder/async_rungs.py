"""Rungs 5 and 6: the engine in its thread, read by coroutines; and the text of what they read.

Rung 5 reads each request's stream of updates. Rung 6 reads it as the server does, through `Generation`:
detokenizer, a stop string that never comes, and the accounts of what is observed.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Iterator, Sequence

from gradus.bench.ladder.base import Ground, Rung, RungRun, Stopwatch
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.engine.async_engine import AsyncEngine
from gradus.errors import RequestFailedError
from gradus.messages import EngineRequest
from gradus.server.generation import Generation


class AsyncRung(Rung):
    """An engine thread, and an event loop in the caller's; as many coroutines as requests at a time."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._core = ground.new_core()
        self._engine = AsyncEngine(self._core)
        self._loop = asyncio.Runner()

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        counters = self._core.counters
        num_steps, num_tokens = counters.num_steps, counters.num_generated_tokens
        watch = Stopwatch()
        with watch.running():
            outputs = self._loop.run(self._run_all(requests, concurrency))
        return RungRun(
            watch.seconds,
            watch.cpu_seconds,
            counters.num_steps - num_steps,
            counters.num_generated_tokens - num_tokens,
            [outputs[index] for index in range(len(requests))],
        )

    def close(self) -> None:
        self._loop.run(self._engine.shutdown())
        self._loop.close()

    async def _run_all(self, requests: Sequence[LadderRequest], concurrency: int) -> dict[int, Output]:
        waiting, outputs = iter(enumerate(requests)), {}

        async def work(waiting: Iterator[tuple[int, LadderRequest]]) -> None:
            for index, request in waiting:
                outputs[index] = await self.answer(self._engine, request.engine_request)

        await asyncio.gather(*(work(waiting) for _ in range(concurrency)))
        return outputs

    @abstractmethod
    async def answer(self, engine: AsyncEngine, request: EngineRequest) -> Output:
        """Run one request to its end."""


class StreamsRung(AsyncRung):
    """Rung 5: token ids."""

    async def answer(self, engine: AsyncEngine, request: EngineRequest) -> Output:
        token_ids: list[int] = []
        async for updates in engine.add_request(request):
            for update in updates:
                token_ids += update.new_token_ids
                if update.error is not None:
                    raise RequestFailedError(update.error)
        return Output(len(token_ids), token_ids)


class TextRung(AsyncRung):
    """Rung 6: token ids and text."""

    async def answer(self, engine: AsyncEngine, request: EngineRequest) -> Output:
        generation = Generation(engine, self.ground.runtime.tokenizer, [request])
        await generation.run()
        choice = generation.states[0].output().outputs[0]
        return Output(len(choice.token_ids), choice.token_ids, choice.text)
