"""The harness is tested itself: each of these deliberate defects must make it fail.

A mutant that survived would mean that the tests beside this one cannot see the defect.
"""

from collections.abc import Callable

import numpy as np
import pytest

from gradus.engine.batch_builder import BatchBuilder
from gradus.engine.block_pool import BlockAccountingError, BlockPool, hash_block
from gradus.engine.prompt_rows import PromptRows
from gradus.engine.request import Request
from gradus.engine.scheduler import Reusable, Scheduler
from tests.engine import test_core, test_switches
from tests.engine.harness import make_core, make_request, run_and_check

# The third begins with the second's first block and goes on with the first's second one.
SAME_SECOND_BLOCK = [
    make_request("s0", [21, 21, 21, 21, 1, 2, 3, 4, 5]),
    make_request("s1", [22, 22, 22, 22, 9, 9, 9, 9, 9]),
    make_request("s2", [22, 22, 22, 22, 1, 2, 3, 4, 5]),
]

SCORED_PROMPTS = [make_request(f"p{i}", range(10), 12, prompt_logprobs=1) for i in range(3)]
PREEMPTED_IN_ITS_PROMPT = [
    make_request("long output", [1, 2, 3, 4], 16),
    make_request("long prompt", range(16), 4, prompt_logprobs=0),
]


def demanding_run() -> None:
    """Prefix hits, forks, preemption and chunks, with and without the cache."""
    for caching in (True, False):
        for num_blocks in (6, 12):
            core = make_core(
                num_blocks, max_num_batched_tokens=7, max_num_seqs=5, enable_prefix_caching=caching
            )
            run_and_check(core, test_switches.fixed_workload())
    run_and_check(make_core(), SAME_SECOND_BLOCK)
    run_and_check(make_core(max_num_batched_tokens=5), SCORED_PROMPTS)
    run_and_check(
        make_core(6, max_num_batched_tokens=3, enable_prefix_caching=False), PREEMPTED_IN_ITS_PROMPT
    )


def patched(target: type, name: str, change: Callable) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(target, name, change(getattr(target, name)))

    return apply


def hand_out_a_held_block(original: Callable) -> Callable:
    def allocate(self: BlockPool, num_blocks: int) -> list[int]:
        held = [block for block in range(self.num_blocks) if self._ref_counts[block]]
        if num_blocks == 1 and held:
            self.touch(held[:1])
            return held[:1]
        return original(self, num_blocks)

    return allocate


def keep_one_block(original: Callable) -> Callable:
    return lambda self, blocks: original(self, blocks[:-1])


def positions_off_by_one(original: Callable) -> Callable:
    def rows(*args):
        sequence, positions = original(*args)
        return sequence, positions + np.int32(1)

    return staticmethod(rows)


def find_content_one_block_early(original: Callable) -> Callable:
    """Hash each block without those before it."""

    def block_hash(self: Request, index: int, block_size: int):
        return hash_block(b"", self.token_ids[index * block_size : (index + 1) * block_size])

    return block_hash


def claim_one_token_too_many(original: Callable) -> Callable:
    """Say that the token after a prefix hit has been computed, too."""

    def find(self: Scheduler, request: Request) -> Reusable:
        reusable = original(self, request)
        if 0 < reusable.num_tokens < request.num_tokens - 1:
            reusable.num_tokens += 1
        return reusable

    return find


def share_the_partial_block(original: Callable) -> Callable:
    """Fork without the copy: leader and follower write the same block."""

    def find(self: Scheduler, request: Request) -> Reusable:
        reusable = original(self, request)
        if reusable.copy_source is not None:
            return Reusable(reusable.num_tokens, [*reusable.blocks, reusable.copy_source])
        return reusable

    return find


def forget_the_copy(original: Callable) -> Callable:
    def find(self: Scheduler, request: Request) -> Reusable:
        reusable = original(self, request)
        reusable.copy_source = None
        return reusable

    return find


def keep_content_of_a_reallocated_block(original: Callable) -> Callable:
    return lambda self, block: None


def keep_progress_when_preempted(original: Callable) -> Callable:
    def vacate(self: Scheduler, request: Request) -> None:
        num_computed = request.num_computed_tokens
        original(self, request)
        request.num_computed_tokens = num_computed

    def make_resident(self: Scheduler, request: Request, num_reused: int) -> None:
        num_computed = max(num_reused, request.num_computed_tokens)
        Scheduler.original_make_resident(self, request, num_reused)
        request.num_computed_tokens = num_computed

    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Scheduler, "original_make_resident", Scheduler._make_resident, raising=False)
        monkeypatch.setattr(Scheduler, "_vacate", vacate)
        monkeypatch.setattr(Scheduler, "_make_resident", make_resident)

    return apply


def leave_the_seat_as_it_was(original: Callable) -> Callable:
    """Do not write a new resident's block table over the last one's."""

    def seat(self: BatchBuilder, request: Request) -> None:
        if request.num_seated_blocks < 0 and (self._block_tables[request.seat] >= 0).any():
            request.num_seated_blocks = len(request.block_table)
            return
        original(self, request)

    return seat


def reuse_wanted_rows(original: Callable) -> Callable:
    return property(lambda self: self.num_tokens - 1)


def want_rows_again(original: Callable) -> Callable:
    return lambda self, start, stop: range(start, min(stop, self.end))


MUTANTS = {
    "wanted rows of a prompt reused": patched(Request, "num_reusable_tokens", reuse_wanted_rows),
    "rows of a prompt taken twice": patched(PromptRows, "wanted", want_rows_again),
    "held block handed out": patched(BlockPool, "allocate", hand_out_a_held_block),
    "block leaked": patched(BlockPool, "free", keep_one_block),
    "positions off by one": patched(BatchBuilder, "_rows", positions_off_by_one),
    "hash without parent": patched(Request, "block_hash", find_content_one_block_early),
    "one token too many reused": patched(Scheduler, "_find_reusable", claim_one_token_too_many),
    "partial block shared": patched(Scheduler, "_find_reusable", share_the_partial_block),
    "copy forgotten": patched(Scheduler, "_find_reusable", forget_the_copy),
    "stale content found": patched(BlockPool, "_forget", keep_content_of_a_reallocated_block),
    "progress kept without blocks": keep_progress_when_preempted(Scheduler._vacate),
    "stale block table": patched(BatchBuilder, "_seat", leave_the_seat_as_it_was),
}


def test_the_harness_passes_without_a_mutant():
    demanding_run()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_harness_notices(mutant, monkeypatch):
    MUTANTS[mutant](monkeypatch)
    with pytest.raises((AssertionError, BlockAccountingError)):
        demanding_run()


def test_the_harness_notices_a_failed_steps_content_kept_in_the_cache(monkeypatch):
    def workload_around_a_failure() -> None:
        core = make_core()
        core.backend.fail_when = lambda step: step == 1
        prompt = list(range(13))
        core.add_request(make_request("fails", prompt))
        core.step()
        run_and_check(core, [make_request("after", prompt)])

    workload_around_a_failure()
    monkeypatch.setattr(BlockPool, "reset_cache", lambda self: None)
    with pytest.raises(AssertionError):
        workload_around_a_failure()


def test_the_harness_notices_a_failed_steps_content_shared_by_a_resident(monkeypatch):
    monkeypatch.setattr(Scheduler, "preempt_all", lambda self: None)
    with pytest.raises(AssertionError):
        test_core.test_a_resident_that_shares_blocks_of_a_failed_step_computes_them_anew()


def test_the_harness_notices_a_request_that_never_ends(monkeypatch):
    monkeypatch.setattr(Scheduler, "_num_grantable", lambda self, wanted, budget: 0)
    with pytest.raises(AssertionError):
        run_and_check(make_core(), [make_request()])
