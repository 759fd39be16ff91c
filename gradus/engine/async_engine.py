"""`AsyncEngine`: an `EngineCore` in a thread of its own, for asyncio.

Commands (add, abort) go in through a queue that the thread empties between steps; updates come back in one
`call_soon_threadsafe` per step and event loop, however many requests got tokens. Knows nothing of text.

The thread and the event loop share the interpreter's lock. A thread that wants it waits for up to
`sys.getswitchinterval()`, 5 ms by default, while another one computes in Python; steps of a small model are
shorter than that, so a server should lower it (0.5 ms, say). It is process-wide, hence not set here.
"""

import asyncio
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, replace

from gradus.config import SchedulerConfig
from gradus.engine.core import EngineCore
from gradus.engine.rate_meter import RateMeter
from gradus.engine.stats import EngineStats, StepRecord
from gradus.engine.stream import RequestStream
from gradus.errors import EngineDeadError, EngineStoppingError, InvalidRequestError, QueueFullError, counted
from gradus.messages import EngineRequest, RequestUpdate
from gradus.outputs import FinishReason

Delivery = list[tuple[RequestStream, RequestUpdate]]


@dataclass(frozen=True, slots=True)
class _Abort:
    request_id: str
    choice_index: int | None


@dataclass(slots=True)
class _InFlight:
    """A request between `add_request` and its last update. The consumer alone keeps the stream alive."""

    stream: "weakref.ref[RequestStream]"
    unfinished: set[int]  # choice indexes


class AsyncEngine:
    """Runs a core, which nobody else may touch meanwhile. The backend stays its owner's to close."""

    def __init__(
        self, core: EngineCore, *, max_queued_requests: int = 1024, max_queued_tokens: int | None = None
    ) -> None:
        """`max_queued_requests` counts choices; `max_queued_tokens` the tokens of prompts."""
        self._core = core
        self._max_queued_requests = max_queued_requests
        self._max_queued_tokens = max_queued_tokens
        self._rate = RateMeter()
        self._condition = threading.Condition()  # guards all that follows
        self._commands: deque[EngineRequest | _Abort] = deque()
        self._num_commanded = 0  # choices in `_commands`
        self._num_commanded_tokens = 0  # of their prompts, each once
        self._in_flight: dict[str, _InFlight] = {}
        self._drain_deadline: float | None = None  # set by shutdown
        self._cause_of_death: str | None = None
        self._last_progress = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="gradus-engine", daemon=True)

    # -- for the event loop's thread

    def start(self) -> None:
        """Start the thread; the first request does so too."""
        with self._condition:
            if self._thread.ident is None:
                self._thread.start()

    def add_request(self, request: EngineRequest) -> RequestStream:
        """Queue a request; call it in the event loop that will read the stream.

        Raises:
            InvalidRequestError, ContextOverflowError: it can never be served, or its id is in flight.
            QueueFullError: too many choices or prompt tokens wait already.
            EngineStoppingError: it is shutting down.
            EngineDeadError: it has given up.
        """
        self._core.validate(request)
        num_choices = request.params.n
        stream = RequestStream(request.request_id, num_choices, self.abort)
        with self._condition:
            self._check_can_add(request)
            if not self._has_work():
                self._last_progress = time.monotonic()
            self._in_flight[request.request_id] = _InFlight(weakref.ref(stream), set(range(num_choices)))
            self._commands.append(request)
            self._num_commanded += num_choices
            self._num_commanded_tokens += len(request.prompt_token_ids)
            self._condition.notify()
        self.start()
        return stream

    def abort(self, request_id: str, choice_index: int | None = None) -> None:
        """End a request or one of its choices before the next step. Any thread may call it, at any time."""
        with self._condition:
            if request_id in self._in_flight:
                self._commands.append(_Abort(request_id, choice_index))
                self._condition.notify()

    async def shutdown(self, drain_timeout: float = 0.0, grace: float = 10.0) -> None:
        """Refuse new requests, give those in flight `drain_timeout` seconds, abort the rest, end the thread.

        A step that has begun is waited for, `grace` seconds at most.
        """
        with self._condition:
            if self._drain_deadline is None:
                self._drain_deadline = time.monotonic() + drain_timeout
            self._condition.notify()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join, drain_timeout + grace)
        self._end_streams("abort", None)  # none is left, unless the thread hangs

    def is_healthy(self, stall_seconds: float = 60.0) -> bool:
        """False if the engine is dead, or has work and has not completed a step for so long."""
        with self._condition:
            if self._refusal() is not None:
                return False
            return not self._has_work() or time.monotonic() - self._last_progress < stall_seconds

    @property
    def config(self) -> SchedulerConfig:
        return self._core.config

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more requests because it has been told to end."""
        return self._drain_deadline is not None

    @property
    def is_dead(self) -> bool:
        return self._cause_of_death is not None or self._core.is_dead

    def stats(self) -> EngineStats:
        """A snapshot, perhaps taken while a step runs: its numbers may be one step apart.

        What was added and is not yet the scheduler's counts as waiting.
        """
        stats = self._core.stats()
        return replace(stats, num_waiting=stats.num_waiting + self._num_commanded)

    def recent_steps(self) -> list[StepRecord]:
        """The last steps, oldest first."""
        return list(self._core.recent_steps)

    def _check_can_add(self, request: EngineRequest) -> None:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if request.request_id in self._in_flight:
            raise InvalidRequestError(
                f"request id {request.request_id!r} is in flight; choose another", param="request_id"
            )
        num_queued = self._num_commanded + self._core.num_waiting
        if num_queued >= self._max_queued_requests:
            raise QueueFullError(
                f"the queue has {counted(num_queued, 'request')} and may have at most "
                f"{self._max_queued_requests:,}; try again later",
                self._seconds_to_catch_up(),
            )
        self._check_queued_tokens(len(request.prompt_token_ids))

    def _check_queued_tokens(self, num_new: int) -> None:
        """A prompt that nobody waits before is let in, however long it is."""
        most, num_queued = self._max_queued_tokens, self._num_queued_tokens
        if most is not None and num_queued and num_queued + num_new > most:
            raise QueueFullError(
                f"the queue has prompts of {counted(num_queued, 'token')}, it may have at most {most:,}, and "
                f"this one has {num_new:,}; try again later",
                self._seconds_to_catch_up(),
            )

    @property
    def _num_queued_tokens(self) -> int:
        return self._num_commanded_tokens + self._core.num_waiting_tokens

    def _seconds_to_catch_up(self) -> float:
        """Until all that waits now has been computed, at the recent rate.

        What waits is taken to write as many tokens as the requests before it did on average.
        """
        counters = self._core.counters
        num_finished = sum(counters.num_finished.values())
        num_each = counters.num_generated_tokens / num_finished if num_finished else 0
        num_waiting = self._num_commanded + self._core.num_waiting
        return self._rate.seconds_for(self._num_queued_tokens + num_waiting * num_each)

    def _refusal(self) -> EngineDeadError | None:
        if self._drain_deadline is not None:
            return EngineStoppingError("the engine is shutting down")
        cause = self._cause_of_death or self._core.cause_of_death
        return None if cause is None else EngineDeadError(cause)

    def _has_work(self) -> bool:
        return bool(self._commands) or self._core.has_unfinished_requests

    # -- for the engine's thread

    def _run(self) -> None:
        try:
            while self._take_commands():
                start, num_tokens = time.monotonic(), self._core.counters.num_batched_tokens
                self._publish(self._core.step())
                self._last_progress = time.monotonic()
                num_new = self._core.counters.num_batched_tokens - num_tokens
                self._rate.add(num_new, self._last_progress - start)
        except Exception as error:  # a defect of the engine itself; step() deals with all others
            self._cause_of_death = f"the engine failed: {error!r}"
            self._end_streams("error", self._cause_of_death)

    def _take_commands(self) -> bool:
        """Wait for work and do what was commanded; False when the thread shall end."""
        refused: list[RequestUpdate] = []
        with self._condition:
            while not self._has_work() and self._drain_deadline is None:
                self._condition.wait()
            while self._commands:
                command = self._commands.popleft()
                if isinstance(command, _Abort):
                    self._core.abort(command.request_id, command.choice_index)
                else:
                    self._num_commanded -= command.params.n
                    self._num_commanded_tokens -= len(command.prompt_token_ids)
                    refused += self._add(command)
            if self._drain_deadline is not None and time.monotonic() >= self._drain_deadline:
                self._core.abort_all()
            goes_on = self._core.has_unfinished_requests or self._drain_deadline is None
        self._publish(refused)
        return goes_on

    def _add(self, request: EngineRequest) -> list[RequestUpdate]:
        """Hand a request to the core. It was validated, but the engine may have died since."""
        try:
            self._core.add_request(request)
        except Exception as error:
            return [_end(request.request_id, index, "error", str(error)) for index in range(request.params.n)]
        return []

    def _publish(self, updates: list[RequestUpdate]) -> None:
        deliveries: dict[asyncio.AbstractEventLoop, Delivery] = {}
        with self._condition:
            for update in updates:
                stream = self._stream_of(update)
                if stream is not None:
                    deliveries.setdefault(stream.loop, []).append((stream, update))
        for loop, delivery in deliveries.items():
            try:
                loop.call_soon_threadsafe(_deliver, delivery)
            except RuntimeError:  # the loop is closed: nobody will ever read these
                for stream, _ in delivery:
                    self.abort(stream.request_id)

    def _stream_of(self, update: RequestUpdate) -> RequestStream | None:
        """Where an update goes. A stream that was dropped unread aborts its request."""
        entry = self._in_flight.get(update.request_id)
        if entry is None:
            return None
        if update.finish_reason is not None:
            entry.unfinished.discard(update.choice_index)
            if not entry.unfinished:
                del self._in_flight[update.request_id]
        stream = entry.stream()
        if stream is None:
            self.abort(update.request_id)
        return stream

    def _end_streams(self, reason: FinishReason, error: str | None) -> None:
        """End every request still in flight, without the core's help."""
        with self._condition:
            open_choices = [
                (name, index) for name, entry in self._in_flight.items() for index in entry.unfinished
            ]
        self._publish([_end(name, index, reason, error) for name, index in open_choices])


def _end(request_id: str, choice_index: int, reason: FinishReason, error: str | None) -> RequestUpdate:
    return RequestUpdate(request_id=request_id, choice_index=choice_index, finish_reason=reason, error=error)


def _deliver(delivery: Delivery) -> None:
    for stream, update in delivery:
        stream.push(update)
