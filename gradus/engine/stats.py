"""What the engine counts: plain numbers that a metrics module exports as it likes.

Knows nothing of who reads them. Counters only grow while the engine lives; gauges are the moment's values.
"""

from dataclasses import dataclass, field

from gradus.outputs import FinishReason


def _no_finishes() -> dict[FinishReason, int]:
    return {"stop": 0, "length": 0, "abort": 0, "error": 0}


@dataclass(slots=True)
class EngineCounters:
    """Cumulative since the engine began.

    Attributes:
        num_computed_prompt_tokens: prompt tokens run through the model, again after a preemption included.
        num_cached_prompt_tokens: prompt tokens whose KV was found or shared at a request's first admission.
        num_finished: choices by how they ended.
    """

    num_steps: int = 0
    num_failed_steps: int = 0
    num_batched_tokens: int = 0
    num_computed_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_generated_tokens: int = 0
    num_preemptions: int = 0
    num_finished: dict[FinishReason, int] = field(default_factory=_no_finishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot. Requests are counted by choice: one of `n = 3` counts three times.

    Attributes:
        num_running: choices that hold KV blocks.
        num_waiting: choices that do not, preempted ones included.
        num_cached_blocks: blocks that carry findable content, held or not.
    """

    num_running: int
    num_waiting: int
    num_blocks: int
    num_free_blocks: int
    num_used_blocks: int
    num_cached_blocks: int
    num_steps: int
    num_failed_steps: int
    num_batched_tokens: int
    num_computed_prompt_tokens: int
    num_cached_prompt_tokens: int
    num_generated_tokens: int
    num_preemptions: int
    num_finished: dict[FinishReason, int]
