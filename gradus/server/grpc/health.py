"""`grpc.health.v1`: the standard way to ask whether requests can be served.

The truth is the engine's; a question and a clock bring the answer up to date, the latter for those who watch.
"""

import asyncio
from typing import Any

from grpc_health.v1 import health, health_pb2

from gradus.server.grpc.proto import SERVICE
from gradus.server.service import Service

_SECONDS = 0.5  # between two looks at the engine

_STATUS = health_pb2.HealthCheckResponse


class EngineHealth(health.aio.HealthServicer):
    """Serves the health of one engine, as that of the server and of its service."""

    def __init__(self, service: Service, stall_seconds: float) -> None:
        super().__init__()
        self._service = service
        self._stall_seconds = stall_seconds

    @property
    def is_healthy(self) -> bool:
        return self._service.engine.is_healthy(self._stall_seconds)

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self.refresh()
        return await super().Check(request, context)

    async def refresh(self) -> None:
        """Set the statuses to what is true now."""
        status = _STATUS.SERVING if self.is_healthy else _STATUS.NOT_SERVING
        for name in ("", SERVICE):
            await self.set(name, status)

    async def keep_fresh(self) -> None:
        """Until it is cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(_SECONDS)
