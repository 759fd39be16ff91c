"""`Generation`: requests that belong together, on their way from the engine to text.

Knows the async engine and the text layer. Knows nothing of HTTP, nor of who may ask.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol

from gradus.config import SchedulerConfig
from gradus.engine.stats import EngineStats, StepRecord
from gradus.errors import (
    DeadlineExceededError,
    EngineDeadError,
    EngineStoppingError,
    RequestFailedError,
)
from gradus.messages import EngineRequest, RequestUpdate
from gradus.server.observe.observation import Observation
from gradus.server.security.rate_limits import Ticket
from gradus.server.streaming import EVERY_TOKEN, Granularity, join_deltas
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.tokenizer import Tokenizer


class UpdateStream(Protocol):
    """One request's updates, as `AsyncEngine.add_request` returns them."""

    def __aiter__(self) -> AsyncIterator[list[RequestUpdate]]: ...

    def close(self) -> None:
        """Abort what is unfinished."""


class Engine(Protocol):
    """The part of `AsyncEngine` that a server uses."""

    @property
    def config(self) -> SchedulerConfig: ...

    @property
    def is_stopping(self) -> bool: ...

    def start(self) -> None: ...

    def add_request(self, request: EngineRequest) -> UpdateStream: ...

    def abort(self, request_id: str, choice_index: int | None = None) -> None: ...

    def stats(self) -> EngineStats: ...

    def recent_steps(self) -> list[StepRecord]: ...

    def is_healthy(self, stall_seconds: float = 60.0) -> bool: ...

    async def shutdown(self, drain_timeout: float = 0.0, grace: float = 10.0) -> None: ...


class Generation:
    """Some requests in the engine, read together; the choices of request i are i * n to i * n + n - 1."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        requests: Sequence[EngineRequest],
        observation: Observation | None = None,
        *,
        granularity: Granularity = EVERY_TOKEN,
        ticket: Ticket | None = None,
        timeout: float | None = None,
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`ticket` is what its tokens are charged to; after `timeout` seconds it ends with an error."""
        self._engine = engine
        self.observation = observation or Observation(requests)
        self._granularity = granularity
        self._ticket: Ticket | None = None  # until all have started
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._has_expired = False
        self._num_choices_each = requests[0].params.n
        self._streams: list[UpdateStream] = []
        self.states = [
            RequestState(r.request_id, None, r.prompt_token_ids, r.params, tokenizer, shown_special_ids)
            for r in requests
        ]
        try:
            for request in requests:
                self._streams.append(engine.add_request(request))
        except BaseException:
            self._close_streams()
            raise
        if ticket is not None:
            self._ticket = ticket
            ticket.charge(sum(len(request.prompt_token_ids) for request in requests))
        if timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._expire)

    @property
    def num_choices(self) -> int:
        return self._num_choices_each * len(self.states)

    def close(self) -> None:
        """Abort what is unfinished. Harmless when repeated."""
        self._close_streams()
        self.observation.end()

    def _close_streams(self) -> None:
        for stream in self._streams:
            stream.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._ticket is not None:
            self._ticket.release()

    def _expire(self) -> None:
        """The time is over: who reads finds the end of what has been computed, and the reason."""
        self._has_expired = True
        self.close()

    async def run(self) -> None:
        """Read everything; the result is in `states`."""
        async for _ in self._steps():
            pass

    async def deltas(self) -> AsyncGenerator[list[ChoiceDelta]]:
        """What was added since the last batch, choices numbered across the requests.

        Leaving early (`aclose`) aborts the rest.

        Raises:
            RequestFailedError: a choice ended with an error.
            EngineDeadError: the engine stopped.
            DeadlineExceededError: it took too long.
        """
        async with aclosing(join_deltas(self._steps(), self._granularity)) as batches:
            async for batch in batches:
                handed_out = self.observation.clock()
                yield batch
                self.observation.flush_seconds += self.observation.clock() - handed_out

    async def _steps(self) -> AsyncGenerator[list[ChoiceDelta]]:
        """What each step added."""
        try:
            async with aclosing(self._read(0) if len(self._streams) == 1 else self._read_all()) as batches:
                async for batch in batches:
                    yield batch
        finally:
            self.close()

    async def _read(self, i: int) -> AsyncGenerator[list[ChoiceDelta]]:
        """One request's deltas. It ends with the last choice's text, not with the engine's last word."""
        state = self.states[i]
        async for updates in self._streams[i]:
            deltas = [self._apply(i, update) for update in updates]
            for choice in state.take_choices_to_abort():
                self._engine.abort(state.request_id, choice)
            yield deltas
            if state.finished:
                return
        if self._has_expired:
            raise DeadlineExceededError(
                f"the request was not complete after {self._timeout:g} seconds; ask for fewer tokens, or for "
                "more time, if the server's --request-timeout allows it"
            )
        if not state.finished:
            raise EngineDeadError("the engine stopped before the request was complete")

    def _apply(self, i: int, update: RequestUpdate) -> ChoiceDelta:
        observation, index = self.observation, i * self._num_choices_each + update.choice_index
        before = observation.clock()
        delta = self.states[i].apply(update)
        observation.detokenize_seconds += observation.clock() - before
        observation.add(index, update, len(delta.token_ids), delta.finish_reason)
        if delta.finish_reason == "error":
            raise RequestFailedError(delta.error or "the request failed")
        if delta.finish_reason == "abort":
            raise EngineStoppingError("the server is shutting down")
        if self._ticket is not None:
            self._ticket.charge(len(delta.token_ids))
        delta.index = index
        return delta

    async def _read_all(self) -> AsyncGenerator[list[ChoiceDelta]]:
        """Several requests' deltas as they come."""
        arrived: asyncio.Queue[list[ChoiceDelta] | Exception | None] = asyncio.Queue()

        async def pump(i: int) -> None:
            try:
                async for deltas in self._read(i):
                    arrived.put_nowait(deltas)
            except Exception as error:
                arrived.put_nowait(error)
            else:
                arrived.put_nowait(None)

        pumps = [asyncio.create_task(pump(i)) for i in range(len(self._streams))]
        num_running = len(pumps)
        try:
            while num_running:
                item = await arrived.get()
                if item is None:
                    num_running -= 1
                elif isinstance(item, Exception):
                    raise item
                else:
                    yield item
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
