"""What logs say of a gRPC call or of one request of it: its id, its method, where it came from.

Knows grpcio's way to write an address.
"""

import secrets
from typing import Any
from urllib.parse import unquote

from gradus.server.grpc.statuses import Failure
from gradus.server.observe.context import RequestContext
from gradus.server.security.keys import Client

MAX_LABEL_CHARS = 256
_MAX_ROUTE_CHARS = 200


def new_request_id() -> str:
    return f"grpc-{secrets.token_hex(16)}"


def request_context(
    call: Any, route: str, request_id: str, status: str, client: Client | None = None
) -> RequestContext:
    """`call` is grpcio's context of it; `status` is what it ends with unless told otherwise."""
    return RequestContext(
        request_id=request_id[:MAX_LABEL_CHARS],
        route=route[:_MAX_ROUTE_CHARS],
        status=status,
        client=client.name if client is not None and client.is_known else None,
        address=address_of(call.peer()),
    )


def note_failure(context: RequestContext, failure: Failure) -> None:
    """For the log line: what the client is told."""
    context.status = failure.status.name
    context.extra["error"] = failure.reason


def address_of(peer: str) -> str | None:
    """The host in "ipv4:127.0.0.1:4711" or "ipv6:%5B::1%5D:4711"; a Unix socket has none."""
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else None
