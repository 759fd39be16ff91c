"""How many tokens travel together in a stream: chunks, joined in a buffer that a timer empties.

One setting for all streaming front ends. Knows deltas and the event loop's clock; knows nothing of what a
front end makes of them.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.text.output_processor import ChoiceDelta

MAX_CHUNK_SIZE = 4096
MAX_BUFFER_SIZE = 4096
MAX_FLUSH_INTERVAL_MS = 60_000.0

DeltaBatches = AsyncGenerator[list[ChoiceDelta]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Granularity:
    """When what has arrived is handed on: at so many tokens or after so long, whichever comes first.

    A stream's first text and its end are never held back.

    Attributes:
        max_tokens: tokens of one choice that wait at most.
        max_seconds: how long a token waits at most; 0: not at all.
    """

    max_tokens: int = 1
    max_seconds: float = 0.05

    @property
    def is_immediate(self) -> bool:
        return self.max_tokens == 1 or self.max_seconds == 0


EVERY_TOKEN = Granularity()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamingSettings:
    """What an operator, or Control at run time, sets; streams that begin later go by it.

    Attributes:
        stream_chunk_size: tokens in a chunk; None: 1 in server-sent events and 4 over gRPC.
        grpc_buffer_size: chunks in a message over gRPC; an event is always one chunk.
        grpc_flush_interval_ms: how long a token waits at most for its chunk and message to fill up, in events
            of several tokens, too; 0 sends each token at once.

    Raises:
        InvalidRequestError: names the field, its value and the range.
    """

    stream_chunk_size: int | None = None
    grpc_buffer_size: int = 8
    grpc_flush_interval_ms: float = 50.0

    def __post_init__(self) -> None:
        if self.stream_chunk_size is not None:
            _check_integer("stream_chunk_size", self.stream_chunk_size, MAX_CHUNK_SIZE)
        _check_integer("grpc_buffer_size", self.grpc_buffer_size, MAX_BUFFER_SIZE)
        interval = self.grpc_flush_interval_ms
        if not (math.isfinite(interval) and 0 <= interval <= MAX_FLUSH_INTERVAL_MS):
            raise InvalidRequestError(
                f"grpc_flush_interval_ms is {interval}; it must be from 0 to {MAX_FLUSH_INTERVAL_MS:,.0f}",
                "grpc_flush_interval_ms",
            )

    def for_events(self, stream_chunk_size: int | None = None) -> Granularity:
        """Of server-sent events; a request may bring its own chunk size.

        Raises:
            InvalidRequestError: the chunk size is out of range.
        """
        return self._granularity(stream_chunk_size, default=1, buffer_size=1)

    def for_grpc(self, stream_chunk_size: int | None = None) -> Granularity:
        """Of gRPC's messages; as `for_events`."""
        return self._granularity(stream_chunk_size, default=4, buffer_size=self.grpc_buffer_size)

    def _granularity(self, asked: int | None, default: int, buffer_size: int) -> Granularity:
        if asked is not None:
            _check_integer("stream_chunk_size", asked, MAX_CHUNK_SIZE)
        chunk_size = asked or self.stream_chunk_size or default
        return Granularity(
            max_tokens=chunk_size * buffer_size, max_seconds=self.grpc_flush_interval_ms / 1000
        )


class DeltaBuffer:
    """Deltas that wait, joined by choice."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._waiting: dict[int, ChoiceDelta] = {}
        self._begun: set[int] = set()  # choices whose first text was handed on
        self._is_due = False

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    @property
    def is_due(self) -> bool:
        """Whether what waits must be handed on without waiting for the timer."""
        return self._is_due

    def add(self, deltas: Sequence[ChoiceDelta]) -> None:
        for delta in deltas:
            earlier = self._waiting.get(delta.index)
            joined = delta if earlier is None else _join(earlier, delta)
            self._waiting[delta.index] = joined
            is_first_text = bool(joined.text) and delta.index not in self._begun
            is_full = len(joined.token_ids) >= self._max_tokens
            self._is_due |= is_first_text or is_full or joined.finish_reason is not None

    def take(self) -> list[ChoiceDelta]:
        """All that waits, a delta per choice."""
        taken, self._waiting = list(self._waiting.values()), {}
        self._begun.update(delta.index for delta in taken if delta.text)
        self._is_due = False
        return taken


async def join_deltas(batches: DeltaBatches, granularity: Granularity) -> DeltaBatches:
    """The same deltas in fewer batches. Closing it closes `batches`.

    A consumer that is slow gets what has arrived meanwhile in one batch, so no more than the request's own
    tokens ever wait. An error of `batches` comes after what arrived before it.
    """
    async with aclosing(batches):
        if granularity.is_immediate:
            async for batch in batches:
                yield batch
            return
        async with aclosing(_Joiner(batches, granularity).read()) as joined:
            async for batch in joined:
                yield batch


class _Joiner:
    """A task that fills the buffer, a timer, and the consumer whom both wake."""

    def __init__(self, batches: DeltaBatches, granularity: Granularity) -> None:
        self._batches = batches
        self._max_seconds = granularity.max_seconds
        self._buffer = DeltaBuffer(granularity.max_tokens)
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def read(self) -> DeltaBatches:
        async for batch in self._batches:  # the first one without a task: it takes no turn of the event loop
            self._add(batch)
            break
        pump = asyncio.create_task(self._pump())
        pump.add_done_callback(lambda _: self._wake.set())
        try:
            while not (pump.done() and self._buffer.is_empty):
                await self._wake.wait()
                self._wake.clear()
                self._stop_timer()
                if not self._buffer.is_empty:
                    yield self._buffer.take()
            pump.result()
        finally:
            self._stop_timer()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    async def _pump(self) -> None:
        async for batch in self._batches:
            self._add(batch)

    def _add(self, batch: list[ChoiceDelta]) -> None:
        self._buffer.add(batch)
        if self._buffer.is_due:
            self._wake.set()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_seconds, self._wake.set)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _join(earlier: ChoiceDelta, later: ChoiceDelta) -> ChoiceDelta:
    """Two deltas of one choice as one; nothing follows an end but empty deltas."""
    logprobs = earlier.logprobs
    if later.logprobs is not None:
        logprobs = (logprobs or []) + later.logprobs
    return ChoiceDelta(
        index=later.index,
        text=earlier.text + later.text,
        token_ids=earlier.token_ids + later.token_ids,
        logprobs=logprobs,
        finish_reason=earlier.finish_reason or later.finish_reason,
        stop_reason=earlier.stop_reason if earlier.finish_reason else later.stop_reason,
        error=later.error,
    )


def _check_integer(name: str, value: Any, highest: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= highest:
        raise InvalidRequestError(f"{name} is {value}; it must be an integer from 1 to {highest:,}", name)
