"""What the engine counts: plain numbers that a metrics module exports as it likes.

Knows nothing of who reads them. Counters only grow while the engine lives; gauges are the moment's values.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from gradus.outputs import FinishReason

# Steps are counted by their tokens in classes bounded by powers of two; the last class has no bound.
STEP_TOKEN_BOUNDS = tuple(2**exponent for exponent in range(16))
MAX_RECENT_STEPS = 4096  # what a trace can show; about a hundred bytes each


class StepRecord(NamedTuple):
    """A step that ran: from where to where on `time.monotonic()`, in seconds, and what it computed."""

    start: float
    end: float
    num_requests: int
    num_tokens: int


def _no_finishes() -> dict[FinishReason, int]:
    return {"stop": 0, "length": 0, "abort": 0, "error": 0}


def _no_steps() -> list[int]:
    return [0] * (len(STEP_TOKEN_BOUNDS) + 1)


@dataclass(slots=True)
class EngineCounters:
    """Cumulative since the engine began.

    Attributes:
        num_computed_prompt_tokens: prompt tokens run through the model, again after a preemption included.
        num_cached_prompt_tokens: prompt tokens whose KV was found or shared at a request's first admission.
        num_prefix_cache_queries: prompt tokens that were looked up in the prefix cache. A prompt is looked up
            once: not again for its further choices, nor after a preemption.
        num_prefix_cache_hits: those of them that were found.
        num_steps_by_tokens: steps by their number of tokens; class i holds those of at most
            `STEP_TOKEN_BOUNDS[i]` that are in no class before it.
        num_finished: choices by how they ended.
    """

    num_steps: int = 0
    num_failed_steps: int = 0
    num_batched_tokens: int = 0
    num_computed_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_generated_tokens: int = 0
    num_preemptions: int = 0
    num_prefix_cache_queries: int = 0
    num_prefix_cache_hits: int = 0
    num_steps_by_tokens: list[int] = field(default_factory=_no_steps)
    num_finished: dict[FinishReason, int] = field(default_factory=_no_finishes)

    def count_step(self, num_tokens: int) -> None:
        self.num_steps += 1
        self.num_batched_tokens += num_tokens
        self.num_steps_by_tokens[min((num_tokens - 1).bit_length(), len(STEP_TOKEN_BOUNDS))] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot. Requests are counted by choice: one of `n = 3` counts three times.

    Attributes:
        num_running: choices that hold KV blocks.
        num_waiting: choices that do not, preempted ones included.
        peak_used_blocks: blocks held at once at most since the engine began.
        num_cached_blocks: blocks that carry findable content, held or not.
    """

    num_running: int
    num_waiting: int
    num_blocks: int
    num_free_blocks: int
    num_used_blocks: int
    peak_used_blocks: int
    num_cached_blocks: int
    num_steps: int
    num_failed_steps: int
    num_batched_tokens: int
    num_computed_prompt_tokens: int
    num_cached_prompt_tokens: int
    num_generated_tokens: int
    num_preemptions: int
    num_prefix_cache_queries: int
    num_prefix_cache_hits: int
    num_steps_by_tokens: list[int]
    num_finished: dict[FinishReason, int]
