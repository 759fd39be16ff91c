"""`Observation`: what is noted of requests that are generated together, from their start to their end.

The one place that feeds the histograms of requests, whatever the front end. Knows no protocol and no text.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from gradus.messages import EngineRequest, RequestUpdate
from gradus.outputs import FinishReason, RequestMetrics
from gradus.server.metrics import Metrics
from gradus.server.observe.context import RequestContext
from gradus.server.observe.timeline import ChoiceProgress, Timeline, timeline

Clock = Callable[[], float]
SERVED: tuple[FinishReason, ...] = ("stop", "length")


class Observation:
    """Choices are numbered across the requests. `clock` is that of the engine's times."""

    def __init__(
        self,
        requests: Sequence[EngineRequest],
        metrics: Metrics | None = None,
        context: RequestContext | None = None,
        on_end: Callable[["Observation"], None] = lambda _: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.clock = clock
        self.requests = requests
        self.context = context
        self.started = clock()
        self.received = self.started if context is None else context.received
        self.ended: float | None = None
        self.detokenize_seconds = 0.0
        self.flush_seconds = 0.0
        num_choices = len(requests) * requests[0].params.n
        self.choices = [ChoiceProgress(RequestMetrics()) for _ in range(num_choices)]
        self._metrics = metrics
        self._on_end = on_end

    @property
    def num_prompt_tokens(self) -> int:
        """A prompt counts once, however many choices it has."""
        return sum(len(request.prompt_token_ids) for request in self.requests)

    @property
    def num_generated_tokens(self) -> int:
        return sum(choice.num_tokens for choice in self.choices)

    @property
    def finish_reasons(self) -> list[str]:
        """Each that a choice ended with, once."""
        return list(dict.fromkeys(choice.finish_reason or "abort" for choice in self.choices))

    @property
    def first_token(self) -> float | None:
        """When the first token arrived here."""
        return min((choice.first_token for choice in self.choices if choice.num_tokens), default=None)

    def add(self, index: int, update: RequestUpdate, num_tokens: int, reason: FinishReason | None) -> None:
        """Note an update of choice `index`: `num_tokens` of its tokens count, and `reason` may end it."""
        choice, now = self.choices[index], self.clock()
        if choice.finish_reason is not None:
            return
        if update.metrics.queued_time:  # else the engine died, and the end is not of its making
            choice.metrics = update.metrics
        if self._metrics is not None:
            if choice.num_tokens == 0 and update.choice_index == 0 and (num_tokens or reason in SERVED):
                self._metrics.num_prompt_tokens += len(self._request_of(index).prompt_token_ids)
                self._metrics.num_cached_prompt_tokens += update.metrics.num_cached_prompt_tokens
            if num_tokens:
                self._observe_tokens(self._metrics, choice, num_tokens, now)
        if num_tokens:
            choice.first_token = choice.first_token if choice.num_tokens else now
            choice.last_token = now
            choice.num_tokens += num_tokens
        if reason is not None:
            at_engine = update.metrics.finished_time if update.finish_reason is not None else None
            choice.computed = now if at_engine is None else at_engine
            self._finish(index, reason, now)

    def end(self) -> None:
        """Nothing more comes: choices that have not ended are aborted. Harmless when repeated."""
        if self.ended is not None:
            return
        self.ended = self.clock()
        for index, choice in enumerate(self.choices):
            if choice.finish_reason is None:
                self._finish(index, "abort", self.ended)
        if self.context is not None:
            self.context.observations.append(self)
        self._on_end(self)

    def timeline(self) -> Timeline:
        """Of all choices together, until the end or until now."""
        ended = self.clock() if self.ended is None else self.ended
        return timeline(self.received, self.started, ended, self.choices)

    def timings(self) -> dict[str, Any]:
        """What a response tells of its latency: times in milliseconds, and counts.

        The parts (`PARTS`) add up to `total_ms`; grammar, detokenizing and flushing lie within them.
        `grammar_ms` is there only if there is a grammar.
        """
        line = self.timeline()
        records = [choice.metrics for choice in self.choices]
        first = [records[index] for index in self._first_choices()]
        num_steps = sum(record.num_steps for record in records)
        num_co_batched = sum(record.num_co_batched for record in records)
        timings: dict[str, Any] = {f"{name}_ms": _ms(value) for name, value in line.parts.items()}
        timings |= {
            "total_ms": _ms(line.total),
            "computed_prompt_tokens": sum(record.num_computed_prompt_tokens for record in first),
            "cached_prompt_tokens": sum(record.num_cached_prompt_tokens for record in first),
            "completion_tokens": self.num_generated_tokens,
            "steps": num_steps,
            "mean_co_batch": round(num_co_batched / num_steps, 3) if num_steps else 0.0,
            "preemptions": sum(record.num_preemptions for record in records),
            "detokenize_ms": _ms(self.detokenize_seconds),
            "flush_ms": _ms(self.flush_seconds),
        }
        grammar = [record.grammar_seconds for record in records if record.grammar_seconds is not None]
        if grammar:
            timings["grammar_ms"] = _ms(sum(grammar))
        return timings

    def _first_choices(self) -> list[int]:
        """The index of each request's first choice."""
        return list(range(0, len(self.choices), self.requests[0].params.n))

    def _request_of(self, index: int) -> EngineRequest:
        return self.requests[index // self.requests[0].params.n]

    def _observe_tokens(self, metrics: Metrics, choice: ChoiceProgress, num_tokens: int, now: float) -> None:
        """Tokens that arrive together share the time since those before them; with the first it is 0."""
        metrics.num_generated_tokens += num_tokens
        if choice.num_tokens == 0:
            metrics.time_to_first_token.observe(now - self.received)
            if num_tokens > 1:
                metrics.inter_token_latency.observe(0.0, num_tokens - 1)
            return
        metrics.inter_token_latency.observe((now - choice.last_token) / num_tokens, num_tokens)

    def _finish(self, index: int, reason: FinishReason, now: float) -> None:
        choice, metrics = self.choices[index], self._metrics
        choice.finish_reason = reason
        if metrics is None:
            return
        metrics.num_finished[reason] += 1
        if reason not in SERVED:
            return  # how long a request took that was cut off says nothing of how long requests take
        line = timeline(self.received, self.started, now, [choice])
        parts = line.parts
        metrics.e2e_latency.observe(line.total)
        metrics.queue_time.observe(parts["queue"])
        metrics.prefill_time.observe(parts["prefill"])
        metrics.decode_time.observe(parts["decode"])
        metrics.prompt_tokens.observe(len(self._request_of(index).prompt_token_ids))
        metrics.generation_tokens.observe(choice.num_tokens)
        if choice.num_tokens > 1:
            metrics.time_per_output_token.observe(parts["decode"] / (choice.num_tokens - 1))


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
