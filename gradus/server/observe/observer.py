"""`Observer`: what one server notes of its requests, and where it goes: metrics, traces, logs.

Each of them can be off; timings of a request that asks for them are always to be had. Knows no protocol.
"""

from collections.abc import Sequence

from gradus.errors import GradusError
from gradus.messages import EngineRequest
from gradus.server.metrics import Metrics
from gradus.server.observe.context import current_request
from gradus.server.observe.observation import Observation


class Observer:
    """`metrics` is None where they are off."""

    def __init__(self, *, metrics: bool = True) -> None:
        self.metrics = Metrics() if metrics else None

    def begin(self, requests: Sequence[EngineRequest]) -> Observation:
        """Begin to note what becomes of requests that are generated together."""
        return Observation(requests, self.metrics, current_request(), self._ended)

    def refuse(self, error: GradusError) -> None:
        """Note that a request was not admitted."""
        if self.metrics is not None:
            self.metrics.reject(error)

    def _ended(self, observation: Observation) -> None:
        pass
