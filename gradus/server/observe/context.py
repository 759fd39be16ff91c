"""Which request a piece of work belongs to: its id, its route, who sent it, when it arrived.

A front end enters one of these per request; what runs inside finds it without being handed it. Knows no
protocol.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradus.server.observe.observation import Observation


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """Attributes:
    request_id: the client's own or a new one; it is what logs and traces call the request.
    route: the path or the method that was called, without parameters.
    received: when the request arrived, in seconds of `time.monotonic()`.
    status: what the client was told, in its protocol's terms (200, 429, "CANCELLED"); None until it was.
    address: where it came from; None of a Unix socket.
    client: the name of the key that it came with, never the key; None where there are no keys.
    extra: further fields for its log line.
    observations: of what it had generated, one entry per `Service.generate`.
    """

    request_id: str
    route: str
    received: float = field(default_factory=time.monotonic)
    status: int | str | None = None
    client: str | None = None
    address: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    observations: "list[Observation]" = field(default_factory=list)


_current: ContextVar[RequestContext | None] = ContextVar("gradus_request", default=None)


def current_request() -> RequestContext | None:
    """The request that the caller works for."""
    return _current.get()


@contextmanager
def request_scope(context: RequestContext) -> Iterator[RequestContext]:
    """Whatever runs in here, tasks that it starts included, works for this request."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
