"""The step loop: who is let in, how each choice ends, and what a failure takes down."""

import time

import numpy as np
import pytest

from gradus.batch import Batch, StepResult
from gradus.engine.core import MAX_CONSECUTIVE_FAILURES, EngineCore
from gradus.errors import EngineDeadError
from tests.engine.fake_backend import FakeBackend, expected_output
from tests.engine.harness import (
    VOCAB_SIZE,
    Recorder,
    check_idle,
    make_core,
    make_request,
    run,
    run_and_check,
)


def greedy_tokens(prompt: list[int], count: int) -> list[int]:
    return expected_output(make_request(prompt=prompt, max_tokens=count), 0, VOCAB_SIZE).token_ids


# -- how a choice ends


def test_length_ends_it():
    last = run_and_check(make_core(), [make_request(max_tokens=5)]).last["r", 0]
    assert (last.finish_reason, last.stop_reason, last.error) == ("length", None, None)


def test_an_end_of_sequence_token_ends_it_and_is_among_the_tokens():
    tokens = greedy_tokens([1, 2, 3], 8)
    eos = tokens[4]
    request = make_request(max_tokens=8, eos_token_ids=frozenset([eos]))
    recorder = run_and_check(make_core(), [request])
    assert recorder.token_ids["r", 0] == tokens[: tokens.index(eos) + 1]
    assert recorder.last["r", 0].finish_reason == "stop"
    assert recorder.last["r", 0].stop_reason is None


def test_a_stop_token_ends_it_and_is_named():
    tokens = greedy_tokens([1, 2, 3], 8)
    recorder = run_and_check(make_core(), [make_request(max_tokens=8, stop_token_ids=[tokens[4]])])
    assert recorder.token_ids["r", 0] == tokens[: tokens.index(tokens[4]) + 1]
    assert recorder.last["r", 0].finish_reason == "stop"
    assert recorder.last["r", 0].stop_reason == tokens[4]


def test_a_stop_token_as_the_last_allowed_one_is_a_stop():
    tokens = greedy_tokens([1, 2, 3], 3)
    assert len(set(tokens)) == 3
    recorder = run_and_check(make_core(), [make_request(max_tokens=3, stop_token_ids=[tokens[2]])])
    assert recorder.last["r", 0].finish_reason == "stop"


def test_abort_ends_it_once_wherever_it_is():
    core = make_core(max_num_seqs=1)
    core.add_request(make_request("runs", n=2))
    core.add_request(make_request("waits"))
    recorder = Recorder()
    recorder.take(core.step())
    for request_id in ("runs", "waits", "unknown", "runs"):
        core.abort(request_id)
    assert core.has_unfinished_requests
    recorder.take(core.step())
    assert {key: last.finish_reason for key, last in recorder.last.items()} == {
        ("runs", 0): "abort",
        ("runs", 1): "abort",
        ("waits", 0): "abort",
    }
    assert not core.has_unfinished_requests
    assert core.step() == []
    check_idle(core)


def test_one_choice_can_be_aborted_alone():
    core = make_core()
    request = make_request(n=3, max_tokens=6)
    core.add_request(request)
    core.step()
    core.step()
    core.abort("r", 1)
    recorder = run(core, [])
    assert [recorder.last["r", choice].finish_reason for choice in range(3)] == ["length", "abort", "length"]


def test_logprobs_come_as_asked():
    core = make_core()
    request = make_request("two", logprobs=2, max_tokens=2)
    for each in (request, make_request("none"), make_request("zero", logprobs=0)):
        core.add_request(each)
    updates = {update.request_id: update for update in core.step()}
    token = updates["two"].new_token_ids[0]
    assert updates["none"].logprobs is None
    (zero,) = updates["zero"].logprobs
    assert (zero.rank, zero.top) == (1, [])
    (two,) = updates["two"].logprobs
    assert (two.logprob, two.rank) == (-token / 8, 1)
    assert two.top == [(token, 0.0), ((token + 1) % VOCAB_SIZE, -1.0)]


def test_metrics_tell_the_times_in_order_and_the_tokens():
    core = make_core(max_num_seqs=1, max_num_batched_tokens=4)
    before = time.monotonic()
    recorder = run_and_check(core, [make_request("a", [1] * 10), make_request("b", [1] * 10)])
    first, second = recorder.last["a", 0].metrics, recorder.last["b", 0].metrics
    times = [
        before,
        first.queued_time,
        first.first_scheduled_time,
        first.first_token_time,
        first.finished_time,
    ]
    assert times == sorted(times)
    assert second.first_scheduled_time >= first.finished_time
    assert (first.num_computed_prompt_tokens, first.num_cached_prompt_tokens) == (10, 0)
    assert (second.num_computed_prompt_tokens, second.num_cached_prompt_tokens) == (2, 8)
    stats = core.stats()
    assert (stats.num_computed_prompt_tokens, stats.num_cached_prompt_tokens) == (12, 8)
    assert stats.num_generated_tokens == 8
    assert stats.num_batched_tokens == 12 + 2 * 3
    assert stats.num_finished == {"stop": 0, "length": 2, "abort": 0, "error": 0}


# -- failures


def test_a_row_without_finite_logits_ends_its_request_alone():
    core = make_core(backend=FakeBackend(64, 4, VOCAB_SIZE, poison=29))
    bad, good = make_request("bad", [1, 29]), make_request("good", [1, 2, 3])
    recorder = run(core, [bad, good])
    recorder.check(good)
    recorder.check(bad, poison=29)
    assert "no finite logits" in recorder.last["bad", 0].error
    assert recorder.token_ids["bad", 0] == []


def test_a_failed_step_ends_what_was_in_flight_and_nothing_else():
    core = make_core(max_num_seqs=2)
    core.backend.fail_when = lambda step: step == 2
    requests = {name: make_request(name, [1, 2, 3, 4, 5, 6], n=1) for name in ("a", "b", "c")}
    recorder = run(core, requests.values())
    for name in ("a", "b"):
        assert recorder.last[name, 0].finish_reason == "error"
        assert "BackendError: step 2 was made to fail" in recorder.last[name, 0].error
        recorder.check(requests[name], steps_failed=True)
    recorder.check(requests["c"])
    assert core.stats().num_failed_steps == 1
    assert not core.is_dead


def test_a_resident_that_shares_blocks_of_a_failed_step_computes_them_anew():
    core = make_core(batching="static", max_num_batched_tokens=9)
    core.backend.fail_when = lambda step: step == 1
    first, second = (make_request(name, list(range(9)), max_tokens=4) for name in ("in the step", "shares"))
    recorder = run(core, [first, second])  # both are admitted; the budget is spent on the first
    assert recorder.last["in the step", 0].finish_reason == "error"
    recorder.check(second)


def test_a_failed_step_does_not_end_a_running_request_without_a_part_in_it():
    core = make_core(scheduling="separated")
    first, second = make_request("first", max_tokens=6), make_request("second", [9, 8, 7])
    core.backend.fail_when = lambda step: step == 3
    core.add_request(first)
    recorder = Recorder()
    for _ in range(2):
        recorder.take(core.step())
    core.add_request(second)
    recorder.take(core.step())
    assert list(recorder.last) == [("second", 0)]
    while core.has_unfinished_requests:
        recorder.take(core.step())
    recorder.check(first)
    check_idle(core)


def test_the_engine_is_dead_after_failures_in_a_row_and_says_why():
    core = make_core(max_num_seqs=1)
    core.backend.fail_when = lambda step: True
    recorder = run(core, [make_request(f"r{index}") for index in range(MAX_CONSECUTIVE_FAILURES + 2)])
    assert len(recorder.last) == MAX_CONSECUTIVE_FAILURES + 2
    assert all(last.finish_reason == "error" for last in recorder.last.values())
    assert core.is_dead
    assert core.stats().num_failed_steps == MAX_CONSECUTIVE_FAILURES
    with pytest.raises(EngineDeadError, match=r"3 steps in a row failed.*step 3 was made to fail"):
        core.add_request(make_request("late"))
    assert core.step() == []


def test_failures_with_successes_between_them_do_not_kill():
    core = make_core(max_num_seqs=1)
    core.backend.fail_when = lambda step: step % 3 != 0
    run(core, [make_request(f"r{index}", max_tokens=1) for index in range(12)])
    assert core.stats().num_failed_steps == 8
    assert not core.is_dead


class OddBackend(FakeBackend):
    """Returns what no backend should."""

    def __init__(self, spoil) -> None:
        super().__init__(64, 4, VOCAB_SIZE)
        self.spoil = spoil

    def execute(self, batch: Batch) -> StepResult:
        result = super().execute(batch)
        self.spoil(result)
        return result


def test_a_result_that_cannot_be_read_for_one_request_ends_that_one_alone():
    def spoil(result: StepResult) -> None:
        result.top_token_ids = np.zeros((0, 0), np.int32)

    core = make_core(backend=OddBackend(spoil))
    good = make_request("good")
    recorder = run(core, [make_request("bad", logprobs=2), good])
    assert recorder.last["bad", 0].finish_reason == "error"
    recorder.check(good)
    assert not core.is_dead


def test_a_result_of_the_wrong_length_is_a_failed_step():
    def spoil(result: StepResult) -> None:
        result.num_sampled = result.num_sampled[1:]

    recorder = run(make_core(backend=OddBackend(spoil)), [make_request()])
    assert "0 outputs; 1 were asked for" in recorder.last["r", 0].error


def test_a_defect_in_the_scheduler_ends_what_runs_and_the_loop_goes_on(monkeypatch):
    core = make_core()
    core.add_request(make_request("a"))
    core.step()
    monkeypatch.setattr(core.scheduler, "schedule", lambda: 1 // 0)
    assert [update.finish_reason for update in core.step()] == ["error"]
    monkeypatch.undo()
    run_and_check(core, [make_request("b")])


def test_limits_use_only_the_backends_constants():
    backend = FakeBackend(5, 4, 9)
    core = EngineCore(backend, make_core().config)
    assert (core.limits.num_blocks, core.limits.block_size, core.limits.vocab_size) == (5, 4, 9)
