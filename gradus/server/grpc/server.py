"""`GrpcServer`: the service's handlers on grpcio's asyncio server, on TCP, on a Unix socket, or on both.

Knows addresses and grpcio's options. It is started and stopped by whoever runs the event loop.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gradus.errors import ConfigError
from gradus.server.grpc import proto
from gradus.server.grpc.call import new_request_id, note_failure, request_context
from gradus.server.grpc.control import Control, as_text, stats
from gradus.server.grpc.guard import Guard, client_of
from gradus.server.grpc.health import EngineHealth
from gradus.server.grpc.predict import InFlight, PredictCall, count_messages
from gradus.server.grpc.proto import Message
from gradus.server.grpc.requests import check_readable
from gradus.server.grpc.statuses import describe, log_failure
from gradus.server.observe.context import request_scope
from gradus.server.security.keys import Client
from gradus.server.security.tls import TlsFiles
from gradus.server.service import Service
from gradus.server.settings import ServerSettings


class GrpcServer:
    """Serves one model, on TCP with TLS where the settings have a certificate."""

    def __init__(self, service: Service, settings: ServerSettings) -> None:
        self._service = service
        self._settings = settings
        self._tls = TlsFiles.of(settings)
        self._in_flight = InFlight()
        self._control = Control(service, self._in_flight)
        self._health = EngineHealth(service, settings.health_stall_seconds)
        self._server: Any = None
        self._keeper: asyncio.Task[None] | None = None
        self.addresses: list[str] = []  # where clients reach it, once it was started

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            ConfigError: an address is not to be had.
        """
        self._server = grpc.aio.server(
            interceptors=[Guard(self._service.keys, self._service.observer)],
            options=[
                ("grpc.so_reuseport", 0),  # a port in use is an error, not one to share
                ("grpc.max_receive_message_length", self._settings.max_body_bytes),
            ],
        )
        self._server.add_generic_rpc_handlers((self._handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (proto.SERVICE, proto.HEALTH_SERVICE, proto.REFLECTION_SERVICE)
        reflection.enable_server_reflection(names, self._server, proto.POOL)
        self._listen()
        await self._health.refresh()
        await self._server.start()
        self._keeper = asyncio.create_task(self._health.keep_fresh())

    async def stop(self, grace: float) -> None:
        """Take no more calls, and end those that are left after `grace` seconds."""
        if self._keeper is not None:
            self._keeper.cancel()
            await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(grace)

    def _listen(self) -> None:
        host, port, path = self._settings.host, self._settings.grpc_port, self._settings.grpc_uds
        if port is not None:
            shown = f"[{host}]" if ":" in host else host
            bound = _bind(
                self._add_port, f"{shown}:{port}", "--grpc-port (0 takes any that is free) or --host"
            )
            self.addresses.append(f"{shown}:{bound}")
        if path is not None:
            _bind(self._server.add_insecure_port, f"unix:{path}", "--grpc-uds")
            os.chmod(path, 0o660)  # for its owner and group, as HTTP's
            self.addresses.append(f"unix:{path}")

    def _add_port(self, address: str) -> int:
        if self._tls is None:
            return self._server.add_insecure_port(address)
        key, certificates, ca_certs = self._tls.read()
        credentials = grpc.ssl_server_credentials(
            [(key, certificates)], ca_certs, require_client_auth=ca_certs is not None
        )
        return self._server.add_secure_port(address, credentials)

    def _handlers(self) -> Any:
        def handler(make: Callable[..., Any], do: Any, request: Any, response: Any) -> Any:
            return make(
                do,
                request_deserializer=proto.reader(request),
                response_serializer=response.SerializeToString,
            )

        unary, streams = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        methods = {
            "StreamPredict": handler(
                streams, self._stream_predict, proto.StreamPredictRequest, proto.StreamPredictResponse
            ),
            "Control": handler(unary, self._run_command, proto.ControlMessage, proto.ControlMessage),
            "Health": handler(
                unary, self._worker_health, proto.WorkerHealthRequest, proto.WorkerHealthResponse
            ),
        }
        return grpc.method_handlers_generic_handler(proto.SERVICE, methods)

    async def _stream_predict(self, requests: AsyncIterator[Message | None], context: Any) -> None:
        await PredictCall(self._service, self._in_flight, self._client_of(context), requests, context).run()

    def _client_of(self, context: Any) -> Client:
        return client_of(self._service.keys, context.invocation_metadata())

    async def _run_command(self, message: Message | None, context: Any) -> Message:
        async with self._noted(message, "Control", context) as (command, client):
            payload = self._control.run(command.command, command.payload, client)
            return proto.ControlMessage(trace_id=command.trace_id, command=command.command, payload=payload)

    async def _worker_health(self, message: Message | None, context: Any) -> Message:
        async with self._noted(message, "Health", context):
            metrics = {name: as_text(value) for name, value in stats(self._service).items()}
            return proto.WorkerHealthResponse(healthy=self._health.is_healthy, metrics=metrics)

    @asynccontextmanager
    async def _noted(
        self, message: Message | None, method: str, context: Any
    ) -> AsyncIterator[tuple[Message, Client]]:
        """A call of one message in either direction, in logs and metrics; an error is its status.

        message: None stands for bytes that are no message.
        """
        request_id = (message and message.trace_id) or new_request_id()
        client = self._client_of(context)
        count_messages(self._service, "received")
        with request_scope(
            request_context(context, f"/{proto.SERVICE}/{method}", request_id, "OK", client)
        ) as noted:
            try:
                check_readable(message)
                yield message, client
                count_messages(self._service, "sent")
            except Exception as error:
                log_failure(error)
                failure = describe(error)
                note_failure(noted, failure)
                await failure.abort(context)
            finally:
                self._service.observer.log(noted)


def _bind(add: Callable[[str], int], address: str, option: str) -> int:
    try:
        return add(address)
    except RuntimeError as error:
        raise ConfigError(f"cannot listen for gRPC on {address}; choose another with {option}") from error
