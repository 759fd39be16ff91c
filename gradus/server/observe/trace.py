"""The last requests as a Chrome trace, which Perfetto and chrome://tracing open. No text is in it.

Source of the format: "Trace Event Format" (Google), complete events (`ph` X) and metadata (`ph` M).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gradus.engine.stats import StepRecord
from gradus.server.observe.observation import Observation
from gradus.server.observe.timeline import Timeline

REQUESTS, ENGINE = 1, 2  # "processes" of the trace


@dataclass(frozen=True, slots=True)
class TracedRequest:
    """A request that has ended: what it is called, its stations, its counts."""

    name: str
    line: Timeline
    args: dict[str, Any]


class TraceBuffer:
    """The last `size` requests that ended."""

    def __init__(self, size: int) -> None:
        self._requests: deque[TracedRequest] = deque(maxlen=size)

    def add(self, observation: Observation) -> None:
        context = observation.context
        args: dict[str, Any] = {"finish_reason": ",".join(observation.finish_reasons)}
        if context is not None:
            args["route"] = context.route
        args |= observation.timings()
        name = observation.requests[0].request_id if context is None else context.request_id
        self._requests.append(TracedRequest(name, observation.timeline(), args))

    def chrome_trace(self, steps: Iterable[StepRecord]) -> dict[str, Any]:
        """A track per request, oldest first, and one of the engine's steps since the first of them began."""
        requests = sorted(self._requests, key=lambda request: request.line.received)
        events = [_metadata("process_name", REQUESTS, 0, "requests")]
        for track, request in enumerate(requests, start=1):
            events.append(_metadata("thread_name", REQUESTS, track, request.name))
            events += _request_slices(request, track)
        events.append(_metadata("process_name", ENGINE, 0, "engine"))
        events.append(_metadata("thread_name", ENGINE, 1, "steps"))
        since = requests[0].line.received if requests else float("inf")
        events += [_step_slice(step) for step in steps if step.end >= since]
        return {"traceEvents": events, "displayTimeUnit": "ms"}


def _request_slices(request: TracedRequest, track: int) -> list[dict[str, Any]]:
    """The whole request and, within it, its parts."""
    line = request.line
    slices = [_slice("request", REQUESTS, track, line.received, line.ended, request.args)]
    return slices + [_slice(name, REQUESTS, track, start, end, {}) for name, start, end in line.spans]


def _step_slice(step: StepRecord) -> dict[str, Any]:
    args = {"requests": step.num_requests, "tokens": step.num_tokens}
    name = f"{step.num_requests} requests, {step.num_tokens} tokens"
    return _slice(name, ENGINE, 1, step.start, step.end, args)


def _slice(
    name: str, process: int, thread: int, start: float, end: float, args: dict[str, Any]
) -> dict[str, Any]:
    """A complete event; times are microseconds."""
    ts, te = round(start * 1e6, 1), round(end * 1e6, 1)
    return {
        "name": name,
        "ph": "X",
        "pid": process,
        "tid": thread,
        "ts": ts,
        "dur": round(te - ts, 1),
        "args": args,
    }


def _metadata(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
