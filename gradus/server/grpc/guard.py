"""Who is let in: every call but those of `grpc.health.v1` asks for a key where there are keys.

The key is in the metadata, as `authorization: Bearer KEY` or `x-api-key: KEY`.
"""

from collections.abc import Iterable
from typing import Any

import grpc

from gradus.errors import AuthenticationError
from gradus.server.grpc.call import new_request_id, note_failure, request_context
from gradus.server.grpc.proto import HEALTH_SERVICE
from gradus.server.grpc.statuses import describe
from gradus.server.observe.observer import Observer
from gradus.server.security.keys import Client, Keys, presented_key

_MAKERS = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


class Guard(grpc.aio.ServerInterceptor):
    """Answers for the service's methods where nobody is let in, so that strangers learn nothing."""

    def __init__(self, keys: Keys, observer: Observer) -> None:
        self._keys = keys
        self._observer = observer

    async def intercept_service(self, continuation: Any, call: Any) -> Any:
        handler = await continuation(call)
        if call.method.startswith(f"/{HEALTH_SERVICE}/"):
            return handler
        try:
            client_of(self._keys, call.invocation_metadata)
        except AuthenticationError as error:
            self._observer.refuse(error)
            return self._refuse(handler, call.method, error)
        return handler

    def _refuse(self, handler: Any, route: str, error: AuthenticationError) -> Any:
        """A handler of the same kind that says why; methods that do not exist are refused alike."""
        failure = describe(error)

        async def refuse(_: Any, context: Any) -> None:
            noted = request_context(context, route, new_request_id(), failure.status.name)
            note_failure(noted, failure)
            self._observer.log(noted)
            await failure.abort(context)

        if handler is None:
            return grpc.stream_stream_rpc_method_handler(refuse)
        make = _MAKERS[handler.request_streaming, handler.response_streaming]
        return make(
            refuse,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def client_of(keys: Keys, metadata: Iterable[tuple[str, str | bytes]] | None) -> Client:
    """Whose key is in a call's metadata.

    Raises:
        AuthenticationError: nobody's, on a server that needs one.
    """
    found = {name: value for name, value in metadata or () if isinstance(value, str)}
    return keys.authenticate(presented_key(found.get("authorization"), found.get("x-api-key")))
