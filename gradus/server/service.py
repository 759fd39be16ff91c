"""`Service`: what a server's routes need of the engine: prompts in, text deltas out, cancellation.

Knows the async engine and the text layer. Knows nothing of HTTP: another front end can stand on it.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, TypeVar

from gradus.config import SchedulerConfig
from gradus.errors import (
    DeadlineExceededError,
    EngineDeadError,
    EngineStoppingError,
    RequestFailedError,
)
from gradus.messages import EngineRequest, RequestUpdate
from gradus.server.security.keys import Client, Keys
from gradus.server.security.rate_limits import RateLimits, Ticket
from gradus.server.settings import ServerSettings
from gradus.text.input_processor import InputProcessor
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.tokenizer import Tokenizer

_LONG_TEXT_BYTES = 16 * 1024  # tokenizing more than that takes milliseconds, so it leaves the event loop

T = TypeVar("T")


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

    def is_healthy(self, stall_seconds: float = 60.0) -> bool: ...

    async def shutdown(self, drain_timeout: float = 0.0, grace: float = 10.0) -> None: ...


class Service:
    """A model ready to be served."""

    def __init__(
        self,
        engine: Engine,
        inputs: InputProcessor,
        model_name: str,
        settings: ServerSettings | None = None,
        keys: Keys | None = None,
    ) -> None:
        """`keys` are those of the settings unless they have been loaded already."""
        self.engine = engine
        self.inputs = inputs
        self.model_name = model_name
        self.settings = settings or ServerSettings()
        self.keys = keys or Keys.load(self.settings)
        self.rate_limits = RateLimits()
        self.created = int(time.time())

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inputs.tokenizer

    async def compute(self, size: int, work: Callable[[], T]) -> T:
        """Do text work here or, where `size` bytes of input make it long, in a thread."""
        return work() if size < _LONG_TEXT_BYTES else await asyncio.to_thread(work)

    def generate(
        self,
        requests: Sequence[EngineRequest],
        client: Client | None = None,
        *,
        tenant: str = "",
        timeout: float | None = None,
    ) -> "Generation":
        """Start requests that belong together; call it in the event loop that will read them.

        client: who asks; None: the server itself, without limits.
        tenant: for whom the client asks, by its own word.
        timeout: seconds until they end with an error, if the server's own limit is not shorter.

        Raises:
            BusyError, EngineDeadError, InvalidRequestError: none of them is started then.
        """
        limits = [each for each in (timeout, self.settings.request_timeout) if each is not None]
        ticket = None
        if client is not None:
            ticket = self.rate_limits.admit(client, tenant)
            if self.settings.isolate_prefix_cache:
                requests = [replace(each, cache_salt=_salt(client, tenant, each)) for each in requests]
        try:
            return Generation(self.engine, self.tokenizer, requests, ticket, min(limits, default=None))
        except BaseException:
            if ticket is not None:
                ticket.cancel()
            raise


def _salt(client: Client, tenant: str, request: EngineRequest) -> str:
    """What keeps clients apart in the prefix cache, whatever salts they choose themselves."""
    return json.dumps([client.name, tenant, request.cache_salt])


class Generation:
    """Some requests in the engine, read together; the choices of request i are i * n to i * n + n - 1."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        requests: Sequence[EngineRequest],
        ticket: Ticket | None = None,
        timeout: float | None = None,
    ) -> None:
        """`ticket` is what its tokens are charged to; after `timeout` seconds it ends with an error."""
        self._engine = engine
        self._ticket: Ticket | None = None  # until all have started
        self._timeout = timeout
        self._timer: asyncio.TimerHandle | None = None
        self._has_expired = False
        self._num_choices_each = requests[0].params.n
        self._streams: list[UpdateStream] = []
        self.states = [
            RequestState(r.request_id, None, r.prompt_token_ids, r.params, tokenizer) for r in requests
        ]
        try:
            for request in requests:
                self._streams.append(engine.add_request(request))
        except BaseException:
            self.close()
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
        async for _ in self.deltas():
            pass

    async def deltas(self) -> AsyncGenerator[list[ChoiceDelta]]:
        """What each step added, choices numbered across the requests. Leaving early aborts the rest.

        Raises:
            RequestFailedError: a choice ended with an error.
            EngineDeadError: the engine stopped.
            DeadlineExceededError: it took too long.
        """
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
        delta = self.states[i].apply(update)
        if delta.finish_reason == "error":
            raise RequestFailedError(delta.error or "the request failed")
        if delta.finish_reason == "abort":
            raise EngineStoppingError("the server is shutting down")
        if self._ticket is not None:
            self._ticket.charge(len(delta.token_ids))
        delta.index += i * self._num_choices_each
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
