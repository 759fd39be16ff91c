"""The uvicorn server, with a stop that lets the engine finish and tells readers of streams what happened."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from gradus.server.http.app import create_app
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
