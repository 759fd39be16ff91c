"""`StreamPredict`: the requests of one call, answered concurrently.

Each request has a task that reads its deltas and writes its messages. Behind a slow client a task holds no
more than its request's tokens, and of a call's requests only so many are read before some are answered.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from typing import Any

import grpc

from gradus.errors import EngineDeadError
from gradus.server.generation import Generation
from gradus.server.grpc.call import new_request_id, note_failure, request_context
from gradus.server.grpc.proto import SERVICE, Message
from gradus.server.grpc.reply import Reply
from gradus.server.grpc.requests import (
    check_labels,
    check_lists,
    check_model,
    check_readable,
    engine_request,
    labels_for_log,
)
from gradus.server.grpc.statuses import Failure, RpcError, describe, log_failure
from gradus.server.metrics import GrpcDirection
from gradus.server.observe.context import request_scope
from gradus.server.security.keys import Client
from gradus.server.service import Service

ROUTE = f"/{SERVICE}/StreamPredict"
MAX_UNANSWERED = 1024  # requests of one call
HALF_CLOSE_SECONDS = 0.2  # how long a failed request waits to learn whether it is its call's only one


class InFlight:
    """The generations of all calls by client and trace id; two calls may use the same."""

    def __init__(self) -> None:
        self._generations: defaultdict[tuple[str, str], list[Generation]] = defaultdict(list)
        self._aborted: set[Generation] = set()

    @contextmanager
    def entered(self, client: Client, trace_id: str, generation: Generation) -> Iterator[None]:
        """Have it listed. An abort shows as an RpcError.

        Raises:
            RpcError: the generation ended because of `abort`.
        """
        key = (client.name, trace_id)
        self._generations[key].append(generation)
        try:
            yield
        except EngineDeadError:
            if generation not in self._aborted:
                raise
            text = f"the request {trace_id!r} was aborted through Control"
            raise RpcError(grpc.StatusCode.CANCELLED, text, reason="aborted") from None
        finally:
            self._aborted.discard(generation)
            self._generations[key].remove(generation)
            if not self._generations[key]:
                del self._generations[key]

    def abort(self, client: Client, trace_id: str) -> int:
        """End what the client has under this trace id; how many there were."""
        found = list(self._generations.get((client.name, trace_id), ()))
        for generation in found:
            self._aborted.add(generation)
            generation.close()
        return len(found)


class PredictCall:
    """One call of StreamPredict."""

    def __init__(
        self,
        service: Service,
        in_flight: InFlight,
        client: Client,
        requests: AsyncIterator[Message | None],
        context: Any,
    ) -> None:
        self._service = service
        self._client = client
        self._in_flight = in_flight
        self._requests = requests
        self._context = context
        self._trace_ids: set[str] = set()
        self._num_requests = 0
        self._is_half_closed = False
        self._is_alone_or_not = asyncio.Event()  # set once it is known
        self._failure: Failure | None = None  # of the latest request that failed
        self._write_lock = asyncio.Lock()

    async def run(self) -> None:
        """Answer everything. Cancelling it aborts what is unfinished."""
        unanswered = asyncio.Semaphore(MAX_UNANSWERED)
        async with asyncio.TaskGroup() as tasks:
            async for message in self._requests:
                count_messages(self._service, "received")
                self._num_requests += 1
                if self._num_requests > 1:
                    self._is_alone_or_not.set()
                task = tasks.create_task(self._answer(message))
                task.add_done_callback(lambda _: unanswered.release())
                await unanswered.acquire()
            self._is_half_closed = True
            self._is_alone_or_not.set()
        if self._num_requests == 1 and self._failure is not None:
            await self._failure.abort(self._context)

    async def _answer(self, message: Message | None) -> None:
        """In a context of its own: what becomes of it is logged under its trace id.

        message: None stands for bytes that are no request.
        """
        trace_id = (message and message.metadata.trace_id) or new_request_id()
        context = request_context(self._context, ROUTE, trace_id, "CANCELLED", self._client)
        reply = Reply(trace_id, context.received)
        with request_scope(context):
            try:
                with self._claimed(trace_id):
                    check_readable(message)
                    check_labels(message)
                    context.extra |= labels_for_log(message)
                    last = await self._generate(message, reply)
                await self._write(last)  # only now: who has read it may use the trace id again
                context.status = "OK"
            except Exception as error:
                log_failure(error)
                failure = describe(error)
                note_failure(context, failure)
                await self._tell(reply, failure)
            finally:
                self._service.observer.log(context)

    async def _generate(self, message: Message, reply: Reply) -> Message:
        """Validate, run, and write what comes; returns the last message."""
        check_model(self._service, message)
        check_lists(self._service.settings, message)
        chunk_size = message.stream_chunk_size if message.HasField("stream_chunk_size") else None
        granularity = self._service.streaming.for_grpc(chunk_size)
        request = await engine_request(self._service, message, new_request_id())
        generation = self._service.generate(
            [request], self._client, tenant=message.metadata.tenant, granularity=granularity
        )
        with self._in_flight.entered(self._client, reply.trace_id, generation):
            async with aclosing(generation.deltas()) as batches:
                async for (delta,) in batches:
                    if delta.finish_reason is not None:
                        break
                    if delta.text:
                        await self._write(reply.message(delta, generation.states[0]))
        return reply.message(delta, generation.states[0])

    @contextmanager
    def _claimed(self, trace_id: str) -> Iterator[None]:
        """Raises RpcError: another request of this call has the trace id."""
        if trace_id in self._trace_ids:
            raise RpcError(
                grpc.StatusCode.ALREADY_EXISTS,
                f"metadata.trace_id is {trace_id!r}, which is in flight on this stream; choose another",
                reason="trace_id_in_flight",
                param="metadata.trace_id",
            )
        self._trace_ids.add(trace_id)
        try:
            yield
        finally:
            self._trace_ids.remove(trace_id)

    async def _tell(self, reply: Reply, failure: Failure) -> None:
        """By the call's status if no other request shares the call, or else by a message."""
        self._failure = failure
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_alone_or_not.wait(), HALF_CLOSE_SECONDS)
        if not (self._is_half_closed and self._num_requests == 1):
            await self._write(reply.failure(failure))

    async def _write(self, message: Message) -> None:
        """Waits while the client does not read. If it is gone, whoever writes is cancelled."""
        async with self._write_lock:
            try:
                await self._context.write(message)
            except grpc.aio.InternalError:
                raise asyncio.CancelledError from None
        count_messages(self._service, "sent")


def count_messages(service: Service, direction: GrpcDirection) -> None:
    if service.observer.metrics is not None:
        service.observer.metrics.grpc_messages(direction)
