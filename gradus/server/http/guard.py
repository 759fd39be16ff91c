"""Who is let in: every route but `/health` asks for a key where there are keys, and `/debug/` for an admin's.

Stands before the routes, so that what exists is not told to strangers. A web socket is never let in.
"""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gradus.errors import GradusError
from gradus.server.http.errors import handle_error
from gradus.server.observe.context import current_request
from gradus.server.observe.observer import Observer
from gradus.server.security.keys import Client, Keys, presented_key

OPEN_PATHS = ("/health",)
ADMIN_PREFIX = "/debug/"


class Guard:
    """Notes the client in the request's state and for its log line, or answers for the routes."""

    def __init__(self, app: ASGIApp, keys: Keys, observer: Observer) -> None:
        self._app = app
        self._keys = keys
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            client = self._client(scope)
        except GradusError as error:
            self._observer.refuse(error)
            response = await handle_error(Request(scope), error)
            if scope["method"] not in ("GET", "HEAD"):
                response.headers["connection"] = "close"  # its body is not read
            await response(scope, receive, send)
            return
        scope.setdefault("state", {})["client"] = client
        context = current_request()
        if context is not None and client.is_known:
            context.client = client.name
        await self._app(scope, receive, send)

    def _client(self, scope: Scope) -> Client:
        if scope["path"] in OPEN_PATHS:
            return self._keys.anonymous
        headers = Headers(scope=scope)
        client = self._keys.authenticate(
            presented_key(headers.get("authorization"), headers.get("x-api-key"))
        )
        if scope["path"].startswith(ADMIN_PREFIX):
            client.check_admin()
        return client


def client_of(request: Request) -> Client:
    """Whom the guard let in."""
    client: Client = request.state.client
    return client
