"""Where a request's time went: its stations in order, and the parts between them, which add up to the whole.

Knows times and counts only.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from gradus.outputs import FinishReason, RequestMetrics

PARTS = ("prepare", "queue", "prefill", "decode", "deliver")


@dataclass(slots=True)
class ChoiceProgress:
    """One choice on its way, as the front end sees it; times in seconds of `time.monotonic()`.

    Attributes:
        metrics: the engine's own record of it, shared with the engine.
        last_token: when its latest tokens arrived here.
        computed: when its last token was known; None until it ends.
    """

    metrics: RequestMetrics
    num_tokens: int = 0
    first_token: float = 0.0
    last_token: float = 0.0
    computed: float | None = None
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Six stations, none before the one that precedes it.

    Attributes:
        received: the request arrived.
        started: it was read, validated and tokenized, and went to the engine.
        scheduled: the first step that computes something of it began to be built.
        first_token: its first token was known.
        computed: its last token was known.
        ended: its last text was known.
    """

    received: float
    started: float
    scheduled: float
    first_token: float
    computed: float
    ended: float

    @property
    def spans(self) -> list[tuple[str, float, float]]:
        """Each part's name (`PARTS`), beginning and end."""
        stations = (
            self.received,
            self.started,
            self.scheduled,
            self.first_token,
            self.computed,
            self.ended,
        )
        pairs = zip(PARTS, pairwise(stations), strict=True)
        return [(name, start, end) for name, (start, end) in pairs]

    @property
    def parts(self) -> dict[str, float]:
        """Seconds from station to station."""
        return {name: end - start for name, start, end in self.spans}

    @property
    def total(self) -> float:
        return self.ended - self.received


def timeline(received: float, started: float, ended: float, choices: Iterable[ChoiceProgress]) -> Timeline:
    """From the first choice's beginning to the last one's end; what was never reached is at the end.

    So is what was reached after it: the engine goes on until it hears that nobody waits any more.
    """
    scheduled, first, computed = [], [], []
    for choice in choices:
        metrics = choice.metrics
        if metrics.first_scheduled_time is not None:
            scheduled.append(metrics.first_scheduled_time)
        if metrics.first_token_time is not None:
            first.append(metrics.first_token_time)
        computed.append(ended if choice.computed is None else choice.computed)
    last = min(max(computed, default=ended), ended)
    at_first_token = min(min(first, default=last), last)
    at_scheduled = min(min(scheduled, default=at_first_token), at_first_token)
    return Timeline(received, started, at_scheduled, at_first_token, last, ended)
