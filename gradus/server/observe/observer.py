"""`Observer`: what one server notes of its requests, and where it goes: metrics, traces, logs.

Each of them can be off; timings of a request that asks for them are always to be had. Knows no protocol.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from gradus.errors import GradusError
from gradus.messages import EngineRequest
from gradus.server.metrics import Metrics
from gradus.server.observe.context import RequestContext, current_request
from gradus.server.observe.observation import Observation
from gradus.server.observe.trace import TraceBuffer
from gradus.server.settings import ServerSettings

logger = logging.getLogger("gradus.server.requests")


class Observer:
    """`metrics` and `trace` are None where they are off; `trace_requests` is how many a trace holds."""

    def __init__(self, *, metrics: bool = True, trace_requests: int = 256, log_prompts: bool = False) -> None:
        self.metrics = Metrics() if metrics else None
        self.trace = TraceBuffer(trace_requests) if trace_requests else None
        self._logs_prompts = log_prompts

    @classmethod
    def of(cls, settings: ServerSettings) -> "Observer":
        return cls(
            metrics=settings.metrics,
            trace_requests=settings.trace_requests,
            log_prompts=settings.log_prompts,
        )

    def begin(self, requests: Sequence[EngineRequest], decode: Callable[[list[int]], str]) -> Observation:
        """Begin to note what becomes of requests that are generated together."""
        context = current_request()
        if self._logs_prompts:
            for request in requests:
                fields = {
                    "request_id": request.request_id if context is None else context.request_id,
                    "prompt": decode(request.prompt_token_ids),
                }
                logger.info("prompt", extra={"fields": fields})
        on_end = self.trace.add if self.trace is not None else lambda _: None
        return Observation(requests, self.metrics, context, on_end)

    def refuse(self, error: GradusError) -> None:
        """Note that a request was not admitted."""
        if self.metrics is not None:
            self.metrics.reject(error)

    def log(self, context: RequestContext) -> None:
        """One line about a request that is over, at level info if it generated or was refused; else debug."""
        is_answer = context.status == "OK" or (isinstance(context.status, int) and context.status < 400)
        level = logging.DEBUG if is_answer and not context.observations else logging.INFO
        if not logger.isEnabledFor(level):
            return
        fields: dict[str, Any] = {"request_id": context.request_id, "route": context.route}
        if context.client is not None:
            fields["client"] = context.client
        fields["status"] = context.status
        for observation in context.observations:
            fields |= _summary(observation)
        fields["e2e_ms"] = round((time.monotonic() - context.received) * 1e3, 1)
        if not is_answer and context.address is not None:
            fields["address"] = context.address
        logger.log(level, "request", extra={"fields": fields | context.extra})
        for observation in context.observations:
            timings = {"request_id": context.request_id, **observation.timings()}
            logger.debug("timings", extra={"fields": timings})


def _summary(observation: Observation) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "prompt_tokens": observation.num_prompt_tokens,
        "completion_tokens": observation.num_generated_tokens,
        "finish_reason": ",".join(observation.finish_reasons),
    }
    if observation.first_token is not None:
        fields["ttft_ms"] = round((observation.first_token - observation.received) * 1e3, 1)
    return fields
