"""The uvicorn server, with a stop that lets the engine finish and tells readers of streams what happened."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from gradus.server.http.app import create_app
from gradus.server.http.connection import timed_connection
from gradus.server.security.tls import TlsFiles
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

if TYPE_CHECKING:
    from gradus.server.grpc.server import GrpcServer

OnReady = Callable[[list[str]], None]

_POLL_SECONDS = 0.1  # how soon a second signal is noticed
_GRACE_SECONDS = 2  # for what is left to be sent: the engine has had its time by then


class HttpServer(uvicorn.Server):
    """Serves one model over HTTP, and over gRPC where the settings say so.

    `on_ready` is called with gRPC's addresses once requests are accepted.
    """

    def __init__(self, service: Service, settings: ServerSettings, on_ready: OnReady | None = None) -> None:
        config = uvicorn.Config(
            create_app(service, settings),
            log_level="warning",
            log_config=None,  # what it has to say goes where all records go
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            lifespan="on",
            # One protocol, one loop: what is tested is what runs, whatever else is installed.
            http=timed_connection(head_timeout=settings.head_timeout, body_timeout=settings.body_timeout),
            loop="asyncio",
            ws="none",
            **_tls_options(TlsFiles.of(settings)),
        )
        super().__init__(config)
        self._engine = service.engine
        self._drain_seconds = settings.shutdown_timeout
        self._on_ready = on_ready
        self.grpc = _grpc_server(service, settings) if settings.has_grpc else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if self.grpc is not None:
            await self.grpc.start()
        await super().startup(sockets)
        if self._on_ready is not None and self.started and not self.should_exit:
            self._on_ready(self.grpc.addresses if self.grpc is not None else [])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """First the engine, so that what it aborts ends with an error; a second signal cuts that short."""
        drain = asyncio.create_task(self._engine.shutdown(drain_timeout=self._drain_seconds))
        while not drain.done() and not self.force_exit:
            await asyncio.wait((drain,), timeout=_POLL_SECONDS)
        if self.grpc is not None:
            await self.grpc.stop(0 if self.force_exit else _GRACE_SECONDS)
        await super().shutdown(sockets)


def _grpc_server(service: Service, settings: ServerSettings) -> "GrpcServer":
    from gradus.server.grpc.server import GrpcServer

    return GrpcServer(service, settings)


def _tls_options(files: TlsFiles | None) -> dict[str, Any]:
    if files is None:
        return {}
    return {
        "ssl_certfile": files.certfile,
        "ssl_keyfile": files.keyfile,
        "ssl_ca_certs": files.ca_certs,
        "ssl_cert_reqs": ssl.CERT_NONE if files.ca_certs is None else ssl.CERT_REQUIRED,
    }
