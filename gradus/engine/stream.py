"""`RequestStream`: one request's updates on their way to the coroutine that asked for them.

Lives in the event loop's thread. Knows nothing of the engine but how to ask it to stop.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType

from gradus.messages import RequestUpdate


class RequestStream:
    """Iterate over it: each item is the list of updates since the last one, at most one per choice.

    What is not fetched is buffered and merged by choice, so a slow consumer loses nothing and holds no more
    memory than the request's tokens. The iteration ends after the last choice's last update. If the consumer
    is cancelled while it waits here, leaves the `async with` block, calls `close()` or drops the stream,
    the request is aborted.
    """

    def __init__(self, request_id: str, num_choices: int, abort: Callable[[str], None]) -> None:
        self.request_id = request_id
        self._num_unfinished = num_choices
        self._abort = abort
        self._loop = asyncio.get_running_loop()
        self._buffer: dict[int, RequestUpdate] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def is_finished(self) -> bool:
        """Whether every choice has ended; the last updates may still wait to be fetched."""
        return self._num_unfinished == 0

    def __aiter__(self) -> "RequestStream":
        return self

    async def __anext__(self) -> list[RequestUpdate]:
        while not self._buffer:
            if self._is_closed or self.is_finished:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            except asyncio.CancelledError:
                self.close()
                raise
            finally:
                self._waiter = None
        updates, self._buffer = list(self._buffer.values()), {}
        return updates

    def push(self, update: RequestUpdate) -> None:
        """Add an update; in the loop's thread only."""
        if update.finish_reason is not None:
            self._num_unfinished -= 1
        if not self._is_closed:
            earlier = self._buffer.get(update.choice_index)
            self._buffer[update.choice_index] = update if earlier is None else _merge(earlier, update)
        self._wake()

    def close(self) -> None:
        """Want no more: abort what is unfinished and end the iteration. Harmless when repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self._buffer.clear()
        if not self.is_finished:
            self._abort(self.request_id)
        self._wake()

    async def aclose(self) -> None:
        self.close()

    async def __aenter__(self) -> "RequestStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _merge(earlier: RequestUpdate, later: RequestUpdate) -> RequestUpdate:
    """Two updates of one choice as one."""
    logprobs = earlier.logprobs
    if later.logprobs is not None:
        logprobs = (logprobs or []) + later.logprobs
    return RequestUpdate(
        request_id=later.request_id,
        choice_index=later.choice_index,
        new_token_ids=earlier.new_token_ids + later.new_token_ids,
        logprobs=logprobs,
        about_prompt=earlier.about_prompt or later.about_prompt,
        finish_reason=later.finish_reason,
        has_end_token=later.has_end_token,
        stop_reason=later.stop_reason,
        error=later.error,
        metrics=later.metrics,
    )
