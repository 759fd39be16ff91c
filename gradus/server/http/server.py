"""The uvicorn server, with a stop that lets the engine finish and tells readers of streams what happened."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvicorn

from gradus.server.http.app import create_app
from gradus.server.http.connection import timed_connection
from gradus.server.security.tls import TlsFiles
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

_POLL_SECONDS = 0.1  # how soon a second signal is noticed


class HttpServer(uvicorn.Server):
    """Serves one model. `on_ready` is called once requests are accepted."""

    def __init__(
        self, service: Service, settings: ServerSettings, on_ready: Callable[[], None] | None = None
    ) -> None:
        config = uvicorn.Config(
            create_app(service, settings),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,  # the engine has had its time by then
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None and self.started and not self.should_exit:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """First the engine, so that what it aborts ends with an error; a second signal cuts that short."""
        drain = asyncio.create_task(self._engine.shutdown(drain_timeout=self._drain_seconds))
        while not drain.done() and not self.force_exit:
            await asyncio.wait((drain,), timeout=_POLL_SECONDS)
        await super().shutdown(sockets)


def _tls_options(files: TlsFiles | None) -> dict[str, Any]:
    if files is None:
        return {}
    return {
        "ssl_certfile": files.certfile,
        "ssl_keyfile": files.keyfile,
        "ssl_ca_certs": files.ca_certs,
        "ssl_cert_reqs": ssl.CERT_NONE if files.ca_certs is None else ssl.CERT_REQUIRED,
    }
