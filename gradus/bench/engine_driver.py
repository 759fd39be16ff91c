"""Runs a workload on the engine in this process, and says when tokens came and what the steps did.

Drives `OfflineEngine` as `LLM` does: requests go through the input processor and the engine's public methods.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workloads.base import WorkloadRequest
from gradus.engine.stats import EngineCounters
from gradus.errors import RequestFailedError
from gradus.offline import Live, OfflineEngine
from gradus.runtime import Runtime
from gradus.sampling_params import SamplingParams


@dataclass(slots=True)
class StepTotals:
    """What all steps of one kind did together."""

    num_steps: int = 0
    num_prompt_tokens: int = 0
    num_decode_tokens: int = 0
    seconds: float = 0.0

    def merge(self, other: "StepTotals") -> None:
        self.num_steps += other.num_steps
        self.num_prompt_tokens += other.num_prompt_tokens
        self.num_decode_tokens += other.num_decode_tokens
        self.seconds += other.seconds

    def as_dict(self) -> dict[str, float] | None:
        """None if there was no such step."""
        if not self.num_steps:
            return None
        tokens = {"num_prompt_tokens": self.num_prompt_tokens, "num_decode_tokens": self.num_decode_tokens}
        return {
            "num_steps": self.num_steps,
            **{name: count for name, count in tokens.items() if count},
            "seconds": self.seconds,
            "tokens_per_second": (self.num_prompt_tokens + self.num_decode_tokens) / self.seconds,
        }


@dataclass(slots=True)
class StepAccount:
    """Steps by what they computed, from the engine's own counters."""

    prefill: StepTotals = field(default_factory=StepTotals)  # prompt tokens only
    decode: StepTotals = field(default_factory=StepTotals)  # one token of each running request
    mixed: StepTotals = field(default_factory=StepTotals)  # both: the two shares cannot be told apart

    def add(self, num_prompt_tokens: int, num_decode_tokens: int, seconds: float) -> None:
        if not num_prompt_tokens and not num_decode_tokens:
            return
        if num_prompt_tokens and num_decode_tokens:
            totals = self.mixed
        else:
            totals = self.prefill if num_prompt_tokens else self.decode
        totals.merge(StepTotals(1, num_prompt_tokens, num_decode_tokens, seconds))

    def merge(self, other: "StepAccount") -> None:
        """Add another run's steps."""
        for mine, theirs in (
            (self.prefill, other.prefill),
            (self.decode, other.decode),
            (self.mixed, other.mixed),
        ):
            mine.merge(theirs)

    def as_dict(self) -> dict[str, dict[str, float] | None]:
        return {
            "prefill": self.prefill.as_dict(),
            "decode": self.decode.as_dict(),
            "mixed": self.mixed.as_dict(),
        }


@dataclass(frozen=True, slots=True)
class SeenStep:
    """One step, as it was seen when it returned: those that ended in it have left already.

    Attributes:
        end: seconds from the run's beginning.
        num_resident: requests that hold KV blocks.
    """

    num_prompt_tokens: int
    num_decode_tokens: int
    seconds: float
    end: float
    num_resident: int
    num_used_blocks: int

    @property
    def kind(self) -> str | None:
        """What it computed; None: nothing."""
        if self.num_prompt_tokens and self.num_decode_tokens:
            return "mixed"
        return "prefill" if self.num_prompt_tokens else "decode" if self.num_decode_tokens else None


@dataclass(frozen=True, slots=True)
class DrivenRun:
    """A run and what the engine counted during it."""

    run: Run
    steps: StepAccount
    each_step: list[SeenStep]
    token_ids: list[list[int]]  # per request
    num_asked: list[int]  # output tokens, per request
    num_generated_tokens: int  # by the engine's count
    num_computed_prompt_tokens: int
    num_cached_prompt_tokens: int
    num_preemptions: int


class EngineDriver:
    """A loaded model that runs a workload's requests."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._engine = OfflineEngine(runtime.core, runtime.tokenizer)

    def run(self, requests: Sequence[WorkloadRequest], concurrency: int | None) -> DrivenRun:
        """Greedy, past the end of the sequence; at most `concurrency` in flight, None: as many as arrived.

        Raises:
            RequestFailedError: a request ended with an error.
            InvalidRequestError: a prompt and its output do not fit into the context.
        """
        counters = self._runtime.core.counters
        before_run = replace(counters)
        steps, loop = StepAccount(), _Loop(self._engine, self._runtime, requests, concurrency)
        each_step: list[SeenStep] = []
        while loop.fill():
            before, start = _tokens(counters), time.perf_counter()
            self._engine.step()
            seconds = time.perf_counter() - start
            prompt_tokens, batched_tokens = (b - a for a, b in zip(before, _tokens(counters), strict=True))
            steps.add(prompt_tokens, batched_tokens - prompt_tokens, seconds)
            each_step.append(self._seen(prompt_tokens, batched_tokens - prompt_tokens, seconds, loop.now()))
            loop.collect()
        return DrivenRun(
            Run(tuple(loop.timings[i] for i in range(len(requests)))),
            steps,
            each_step,
            [loop.token_ids[i] for i in range(len(requests))],
            [request.output_len for request in requests],
            counters.num_generated_tokens - before_run.num_generated_tokens,
            counters.num_computed_prompt_tokens - before_run.num_computed_prompt_tokens,
            counters.num_cached_prompt_tokens - before_run.num_cached_prompt_tokens,
            counters.num_preemptions - before_run.num_preemptions,
        )

    def forget_prefixes(self) -> None:
        """Empty the prefix cache, so that the next run finds nothing of earlier ones."""
        self._runtime.core.pool.reset_cache()

    def _seen(self, num_prompt_tokens: int, num_decode_tokens: int, seconds: float, end: float) -> SeenStep:
        core = self._runtime.core
        return SeenStep(
            num_prompt_tokens,
            num_decode_tokens,
            seconds,
            end,
            len(core.scheduler.running),
            core.pool.num_used,
        )


@dataclass(slots=True)
class _InFlight:
    index: int
    live: Live
    start: float
    token_times: list[float] = field(default_factory=list)


class _Loop:
    """Which requests have not begun, which are in flight, and what was seen of them."""

    def __init__(
        self,
        engine: OfflineEngine,
        runtime: Runtime,
        requests: Sequence[WorkloadRequest],
        concurrency: int | None,
    ) -> None:
        self.timings: dict[int, RequestTiming] = {}
        self.token_ids: dict[int, list[int]] = {}
        self._engine = engine
        self._runtime = runtime
        self._requests = requests
        self._concurrency = len(requests) if concurrency is None else concurrency
        self._waiting = list(range(len(requests)))
        self._in_flight: list[_InFlight] = []
        self._begin = time.perf_counter()

    def fill(self) -> bool:
        """Start what may start; whether anything is in flight. Sleeps where the next has yet to arrive."""
        self._start_those_that_may()
        while self._waiting and not self._in_flight:
            next_arrival = min(self._requests[i].arrival for i in self._waiting if self._may_follow(i))
            time.sleep(max(0.0, next_arrival - self.now()))
            self._start_those_that_may()
        return bool(self._in_flight)

    def _start_those_that_may(self) -> None:
        for index in list(self._waiting):
            if len(self._in_flight) >= self._concurrency:
                return
            request = self._requests[index]
            if self._may_follow(index) and request.arrival <= self.now():
                self._waiting.remove(index)
                self._start(index, request)

    def _may_follow(self, index: int) -> bool:
        """Whether the request before it, if there is one, has ended."""
        after = self._requests[index].after
        return after is None or after in self.timings

    def _start(self, index: int, request: WorkloadRequest) -> None:
        start = request.arrival or self.now()  # in an open loop the wait for the step's end counts
        params = SamplingParams(temperature=0.0, max_tokens=request.output_len, ignore_eos=True)
        processed = self._runtime.inputs.process(self._engine.new_id(), list(request.prompt), params)
        self._in_flight.append(_InFlight(index, self._engine.start(processed, None), start))

    def collect(self) -> None:
        """Take note of what the last step gave."""
        now = self.now()
        for entry in self._in_flight:
            while entry.live.deltas:
                delta = entry.live.deltas.popleft()
                if delta.error is not None:
                    raise RequestFailedError(delta.error)
                entry.token_times += [now] * len(delta.token_ids)
            if entry.live.state.finished:
                self._finish(entry, now)
        self._in_flight = [entry for entry in self._in_flight if entry.index not in self.timings]

    def _finish(self, entry: _InFlight, now: float) -> None:
        self._engine.forget(entry.live)
        token_ids = entry.live.state.output().outputs[0].token_ids
        times = tuple(entry.token_times)
        num_prompt_tokens = len(self._requests[entry.index].prompt)
        self.token_ids[entry.index] = token_ids
        self.timings[entry.index] = RequestTiming(
            entry.start, times[0] if times else now, now, num_prompt_tokens, len(token_ids), times
        )

    def now(self) -> float:
        return time.perf_counter() - self._begin


def _tokens(counters: EngineCounters) -> tuple[int, int]:
    return counters.num_computed_prompt_tokens, counters.num_batched_tokens
