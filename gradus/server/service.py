"""`Service`: what a server's routes need of the engine: prompts in, text deltas out, cancellation.

Knows the async engine and the text layer. Knows nothing of HTTP: another front end can stand on it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeVar

from gradus.errors import EngineDeadError, EngineStoppingError, RequestFailedError
from gradus.messages import EngineRequest, RequestUpdate
from gradus.sampling_params import SamplingParams
from gradus.text.input_processor import InputProcessor
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.reply.reply_format import ReplyFormat, choose_format
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
        reply_format: ReplyFormat | None = None,
    ) -> None:
        """reply_format: how the model's replies are read; by default what its chat template shows."""
        self.engine = engine
        self.inputs = inputs
        self.model_name = model_name
        self.reply_format = reply_format or choose_format(inputs.tokenizer.chat_template)
        self.created = int(time.time())

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inputs.tokenizer

    async def compute(self, size: int, work: Callable[[], T]) -> T:
        """Do text work here or, where `size` bytes of input make it long, in a thread."""
        return work() if size < _LONG_TEXT_BYTES else await asyncio.to_thread(work)

    async def compile_grammar(self, params: SamplingParams) -> None:
        """Have a request's grammar ready, if it needs one, so that `inputs.process` need not wait for it.

        Raises:
            InvalidRequestError: what is wrong with the form.
        """
        if params.structured_outputs is not None:
            await asyncio.to_thread(self.inputs.compile_grammar, params)

    def generate(
        self, requests: Sequence[EngineRequest], shown_special_ids: frozenset[int] = frozenset()
    ) -> "Generation":
        """Start requests that belong together; call it in the event loop that will read them.

        shown_special_ids: special tokens that are part of the text even where those are left out.

        Raises:
            QueueFullError, EngineDeadError, InvalidRequestError: none of them is started then.
        """
        return Generation(self.engine, self.tokenizer, requests, shown_special_ids)


class Generation:
    """Some requests in the engine, read together; the choices of request i are i * n to i * n + n - 1."""

    def __init__(
        self,
        engine: Engine,
        tokenizer: Tokenizer,
        requests: Sequence[EngineRequest],
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> None:
        self._engine = engine
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
            self.close()
            raise

    @property
    def num_choices(self) -> int:
        return self._num_choices_each * len(self.states)

    def close(self) -> None:
        """Abort what is unfinished. Harmless when repeated."""
        for stream in self._streams:
            stream.close()

    async def run(self) -> None:
        """Read everything; the result is in `states`."""
        async for _ in self.deltas():
            pass

    async def deltas(self) -> AsyncGenerator[list[ChoiceDelta]]:
        """What each step added, choices numbered across the requests. Leaving early aborts the rest.

        Raises:
            RequestFailedError: a choice ended with an error.
            EngineDeadError: the engine stopped.
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
        if not state.finished:
            raise EngineDeadError("the engine stopped before the request was complete")

    def _apply(self, i: int, update: RequestUpdate) -> ChoiceDelta:
        delta = self.states[i].apply(update)
        if delta.finish_reason == "error":
            raise RequestFailedError(delta.error or "the request failed")
        if delta.finish_reason == "abort":
            raise EngineStoppingError("the server is shutting down")
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
