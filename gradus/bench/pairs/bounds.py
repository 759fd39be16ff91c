"""What a switch can gain at most on its workload, and how much of that it gained.

Each bound is computed from the workload's lengths, the model's shapes and, where it needs what a step costs,
from the times of the steps that ran. Its docstring is its formula.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from gradus.backends.native.backend import NativeBackend
from gradus.bench.ceilings import measure_ceilings
from gradus.bench.engine_driver import DrivenRun
from gradus.bench.pairs.measure import Measured
from gradus.bench.ratios import Ratio, advantage
from gradus.bench.step_batches import StepShape
from gradus.bench.timings import RequestTiming
from gradus.bench.utilization import StepBounds
from gradus.bench.workloads.base import WorkloadRequest

SHARE = 0.9  # of its bound that a step should reach
GAP_RATIO = 4.0  # by which chunks should shorten the longest gap


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A gain beside its bound; both are ratios of one side to the base, above 1 for a gain.

    Attributes:
        least: what the measured ratio should reach.
        details: the numbers that the bound was computed from.
        checks: that the runs did what the bound takes for granted, for the evidence's `verification`.
    """

    what: str
    side: str
    measured: Ratio
    bound: float
    least: float
    details: dict[str, Any]
    checks: dict[str, bool]

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "side": self.side,
            "measured": self.measured.as_dict(),
            "bound": self.bound,
            "share_of_bound": self.measured.median / self.bound,
            "least": self.least,
            "is_reached": self.measured.median >= self.least,
            **self.details,
        }


Bound = Callable[[Measured], BoundCheck | None]
"""None where the model's shapes do not tell it."""


def asked_for(bound: float) -> float:
    """What a gain should reach: most of its bound, and never a loss."""
    return max(1.0, SHARE * bound)


def occupancy(measured: Measured) -> BoundCheck:
    """Output tokens/s of full batches over those of static ones.

    c(n) is the median time of the steps of n sequences that computed no prompt, of both sides, interpolated
    where there were none; p is the median of what a step with a prompt took beyond c(n), per prompt token. A
    static batch, formed in order of sending, runs until its longest output ends, with as many sequences as
    still write. Full batches need as many steps as the outputs' sum over the seats, no fewer than the longest
    output, and each costs c(seats). bound = (c of static steps + p * prompt tokens) / (c of full steps + the
    same).
    """
    static, continuous = measured.runs
    num_seats = measured.engines[static].core.config.max_num_seqs
    requests = measured.requests[0]  # lengths are the same in every round
    outputs, num_prompt = [r.output_len for r in requests], sum(len(r.prompt) for r in requests)
    step_seconds, prompt_seconds = step_costs(measured)
    active, num_full = static_steps(outputs, num_seats), full_steps(outputs, num_seats)
    prefill = prompt_seconds * num_prompt
    full = num_full * step_seconds(num_seats) + prefill
    bound = (sum(map(step_seconds, active)) + prefill) / full
    return BoundCheck(
        "output tokens/s, full batches over static ones",
        continuous,
        measured.rounds.ratio("output_tokens_per_second", continuous, static, lower_is_better=False),
        bound,
        asked_for(bound),
        {
            "steps_of_static_batches": len(active),
            "steps_of_full_batches": num_full,
            "bound_if_every_step_cost_the_same": len(active) / num_full,
            "seconds_of_a_step_by_sequences": {str(n): step_seconds(n) for n in range(1, num_seats + 1)},
            "seconds_per_prompt_token": prompt_seconds,
        },
        {
            "static_batches_took_the_steps_of_their_longest_outputs": all(
                len(run.each_step) == len(active) for run in measured.runs[static]
            )
        },
    )


def static_steps(output_lens: Sequence[int], num_seats: int) -> list[int]:
    """The sequences that still write, in every step of batches that are formed in order."""
    batches = [output_lens[start : start + num_seats] for start in range(0, len(output_lens), num_seats)]
    return [sum(length > step for length in batch) for batch in batches for step in range(max(batch))]


def full_steps(output_lens: Sequence[int], num_seats: int) -> int:
    """Steps without an empty seat, as far as the longest output lets them be fewer."""
    return max(-(-sum(output_lens) // num_seats), max(output_lens))


def step_costs(measured: Measured) -> tuple[Callable[[int], float], float]:
    """Seconds of a step by its sequences, and those of a prompt token beside them."""
    steps = [step for runs in measured.runs.values() for run in runs for step in run.each_step]
    by_sequences: dict[int, list[float]] = defaultdict(list)
    for step in steps:
        if not step.num_prompt_tokens:
            by_sequences[step.num_decode_tokens].append(step.seconds)
    sizes = sorted(by_sequences)
    medians = [median(by_sequences[size]) for size in sizes]

    def step_seconds(num_sequences: int) -> float:
        return float(np.interp(num_sequences, [0, *sizes], [0.0, *medians]))

    beyond = [
        (step.seconds - step_seconds(step.num_decode_tokens)) / step.num_prompt_tokens
        for step in steps
        if step.num_prompt_tokens
    ]
    return step_seconds, max(0.0, median(beyond))


def skipped_prefill(measured: Measured) -> BoundCheck | None:
    """Time to the first token without over with prefix reuse, of the requests that find a prefix.

    bound = least seconds of the whole prompts / least seconds of what is left to compute: the matrix products
    of the computed tokens and their attention to the whole context, each at this machine's measured ceilings,
    since a multiply-add of attention takes longer than one of quantized products. A request finds the whole
    blocks that an earlier prompt begins with, too, but never its last token.
    """
    off, on = measured.runs
    engine = measured.engines[on]
    backend = engine.backend
    if not isinstance(backend, NativeBackend):
        return None
    ceilings = measure_ceilings(backend.cpu_variant, backend.num_threads)
    least = StepBounds(backend, engine.source.config, ceilings)
    reusable = [reusable_tokens(requests, backend.block_size) for requests in measured.requests]
    pairs = [
        (len(request.prompt), count)
        for requests, counts in zip(measured.requests, reusable, strict=True)
        for request, count in zip(requests, counts, strict=True)
        if count
    ]
    if not pairs:
        return None
    whole = sum(least.seconds(prefill(0, length)) for length, _ in pairs)
    left = sum(least.seconds(prefill(count, length)) for length, count in pairs)
    bound = whole / left
    ours, theirs = (
        [
            sum(r.ttft for r, count in zip(run.run.requests, counts, strict=True) if count)
            for run, counts in zip(measured.runs[side], reusable, strict=True)
        ]
        for side in (on, off)
    )
    return BoundCheck(
        "time to the first token of requests that find a prefix",
        on,
        advantage(ours, theirs, lower_is_better=True),
        bound,
        asked_for(bound),
        {"least_seconds_without": whole, "least_seconds_with": left, "ceilings": ceilings.as_dict()},
        {
            "the_cache_found_what_prompts_have_in_common": all(
                run.num_cached_prompt_tokens == sum(counts)
                for run, counts in zip(measured.runs[on], reusable, strict=True)
            )
        },
    )


def reusable_tokens(requests: Sequence[WorkloadRequest], block_size: int) -> list[int]:
    """Prompt tokens that each request finds, if those before it have ended and nothing was evicted."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for request in requests:
        prompt = tuple(request.prompt)
        ends = range(block_size, len(prompt) + 1, block_size)
        found.append(max((end for end in ends if end < len(prompt) and prompt[:end] in seen), default=0))
        seen.update(prompt[:end] for end in ends)
    return found


def prefill(start: int, end: int) -> StepShape:
    """The step that computes a prompt's tokens from `start` to `end`."""
    return StepShape("prefill", 1, end - start, start)


def resident_sequences(measured: Measured) -> BoundCheck:
    """Sequences that hold keys and values at once, paged over contiguous, after the step that may admit all.

    Contiguous memory holds its tokens / the longest sequence's; the arithmetic allows as many prompts, in
    order of sending, as together have no more tokens than the memory: bound = the latter over the former.
    """
    contiguous, paged = measured.runs
    cache = measured.engines[paged].cache
    slabs = measured.engines[contiguous].cache
    allowed = [
        int(np.searchsorted(np.cumsum([len(r.prompt) for r in requests]), cache.num_tokens, side="right"))
        for requests in measured.requests
    ]
    ours, theirs = (
        [run.each_step[0].num_resident for run in measured.runs[side]] for side in (paged, contiguous)
    )
    bound = median(allowed) / slabs.num_blocks
    return BoundCheck(
        "sequences that hold keys and values at once",
        paged,
        advantage(ours, theirs, lower_is_better=False),
        bound,
        asked_for(bound),
        {
            "kv_cache_tokens": cache.num_tokens,
            "allowed": median(allowed),
            "paged": median(ours),
            "contiguous": median(theirs),
        },
        {"contiguous_memory_held_a_sequence_per_slab": set(theirs) == {slabs.num_blocks}},
    )


def longest_gap(measured: Measured) -> BoundCheck:
    """Longest gap between tokens of streams while a long prompt is computed, whole over in chunks of 256.

    bound = prompt tokens of the largest step, whole over in chunks: what the gap would fall by if a step took
    as long as it has prompt tokens. Fourfold is asked for.
    """
    whole, chunked = measured.base, "256"
    gaps = {side: list(map(gap_beside_longest, measured.runs[side])) for side in (whole, chunked)}
    largest = {
        side: max(step.num_prompt_tokens for run in measured.runs[side] for step in run.each_step)
        for side in (whole, chunked)
    }
    return BoundCheck(
        "longest gap between tokens of running streams",
        chunked,
        advantage(gaps[chunked], gaps[whole], lower_is_better=True),
        largest[whole] / largest[chunked],
        GAP_RATIO,
        {"prompt_tokens_of_the_largest_step": largest},
        {
            "streams_ran_until_the_long_prompt_was_computed": all(
                stream.end >= longest_prompt(run).first_token
                for side in gaps
                for run in measured.runs[side]
                for stream in run.run.requests[1:]  # the first one's end is what the long prompt waits for
            )
        },
    )


def gap_beside_longest(driven: DrivenRun) -> float:
    """Seconds of the longest gap between tokens of others that touches the longest prompt's computation."""
    long = longest_prompt(driven)
    return max(
        later - earlier
        for request in driven.run.requests
        for earlier, later in pairwise(request.token_times)
        if later > long.start and earlier < long.first_token
    )


def longest_prompt(driven: DrivenRun) -> RequestTiming:
    return max(driven.run.requests, key=lambda request: request.num_prompt_tokens)
