"""One HTTP/1.1 connection: uvicorn's, and an end to it where a client takes too long to send.

Uvicorn waits for ever for a request's head and body, so that anybody could hold connections by sending a byte
now and then. Here each has its time, from its beginning to its end; an answer may take as long as it takes.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class TimedConnection(H11Protocol):
    """`head_timeout` and `body_timeout` are in seconds, set by `timed_connection`."""

    head_timeout: float
    body_timeout: float
    _awaited: Any = None  # h11's name for what the client is sending, where that has its time
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; where a request is being answered, that answer is the connection's last.

        Uvicorn would let both be sent, which h11 refuses with an error on each side.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Start the time of what the client has begun to owe, and stop that of what has come."""
        seconds = {h11.IDLE: self.head_timeout, h11.SEND_BODY: self.body_timeout}
        state = self.conn.their_state
        if state is self._awaited:
            return
        self._stop()
        if state in seconds and not self.transport.is_closing():
            self._awaited = state
            self._timer = self.loop.call_later(seconds[state], self.transport.close)

    def _stop(self) -> None:
        self._awaited = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def timed_connection(*, head_timeout: float, body_timeout: float) -> type[TimedConnection]:
    """The class of connections with these times."""
    times = {"head_timeout": head_timeout, "body_timeout": body_timeout}
    return type("TimedConnection", (TimedConnection,), times)
