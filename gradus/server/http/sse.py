"""Sending answers: server-sent events, plain JSON, and noticing that the client has gone away.

Knows ASGI, not what is sent.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gradus.server.http.errors import describe, log_failure

DONE = b"data: [DONE]\n\n"

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

T = TypeVar("T")


def to_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return _encode(value).encode("utf-8")


def event(value: Any) -> bytes:
    """One server-sent event; JSON has no line break inside."""
    return b"data: " + _encode(value).encode("utf-8") + b"\n\n"


def named_event(name: str, value: Any) -> bytes:
    """One server-sent event that says what it is before its data does."""
    return b"event: " + name.encode("ascii") + b"\n" + event(value)


def error_event(error: Exception) -> bytes:
    """How a stream of OpenAI's completions ends that cannot go on."""
    return event(describe(error)[1])


class EventStream(Response):
    """A response whose body is made while it is sent.

    Nothing goes out before the first event exists, so an error until then has a status of its own;
    a later one is the stream's last event, made by `failure`. When the client leaves, the generator is closed
    at once. `on_end` is called in the end, even where the generator has never begun to run.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        failure: Callable[[Exception], bytes] = error_event,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = list(_HEADERS)
        self._events = events
        self._failure = failure
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send_all(send))
        finally:
            self._on_end()

    async def _send_all(self, send: Send) -> None:
        try:
            first = await anext(self._events)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _send_part(send, first)
            try:
                async for part in self._events:
                    await _send_part(send, part)
            except Exception as error:
                log_failure(error)
                await _send_part(send, self._failure(error))
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._events.aclose()


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None where the client went away first and the work was cancelled.

    The request's body must have been read, so that all that can still arrive is the end of the connection.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, watcher):
            if not each.done():
                each.cancel()
        await asyncio.gather(task, watcher, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
