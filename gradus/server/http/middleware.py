"""What is around every request: its id, its line in the log, and an answer even to a defect of the server."""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradus.server.http.context import new_id
from gradus.server.http.errors import describe_for, is_anthropic, log_failure
from gradus.server.observe.context import RequestContext, request_scope
from gradus.server.observe.observer import Observer

_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Envelope:
    """Gives every response an `X-Request-Id`: the client's own where that is short and plain.

    Errors that nobody expected end here. Left to uvicorn, they would also cost the client its connection.
    """

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = plain_request_id(Headers(scope=scope).get("x-request-id")) or new_id("req")
        route = f"{scope['method']} {scope['path'][:200]}"
        address = scope["client"][0] if scope.get("client") else None
        with request_scope(RequestContext(request_id=request_id, route=route, address=address)) as context:
            try:
                await self._answer(scope, receive, send, context)
            finally:
                self._observer.log(context)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, context: RequestContext) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers["x-request-id"] = context.request_id
                if is_anthropic(scope["path"]):
                    headers["request-id"] = context.request_id  # where Anthropic's clients look for it
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            if context.status is not None:
                raise
            log_failure(error)
            status, body, headers = describe_for(scope["path"], error)
            await JSONResponse(body, status, headers)(scope, receive, send_with_id)


def plain_request_id(header: str | None) -> str | None:
    """A client's `X-Request-Id`, if it is short and plain enough to be sent back."""
    return header if header is not None and _PLAIN_ID.fullmatch(header) else None
