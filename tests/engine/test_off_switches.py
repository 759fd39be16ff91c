"""The scheduler's off paths: static batching and separated scheduling."""

from itertools import pairwise

from tests.engine.harness import (
    Recorder,
    batches,
    checked_step,
    make_core,
    make_request,
    query_lens,
    run_and_check,
    running_ids,
)

PROMPT = list(range(10))


def test_static_batching_admits_only_when_nothing_runs():
    core = make_core(batching="static", max_num_seqs=3, max_num_batched_tokens=4)
    workload = [make_request(f"r{i}", [i + 1] * 6, max_tokens=2 + i) for i in range(7)]
    for request in workload:
        core.add_request(request)
    recorder, before = Recorder(), set()
    while core.has_unfinished_requests:
        recorder.take(checked_step(core))
        after = set(running_ids(core))
        assert not before or after <= before, "admitted while something ran"
        before = after
    assert len(recorder.last) == 7


def test_a_static_batch_is_everything_that_fits_whatever_the_budget():
    core = make_core(batching="static", max_num_seqs=5, max_num_batched_tokens=4)
    for index in range(6):
        core.add_request(make_request(f"r{index}", [index + 1] * 6))
    core.step()
    assert core.stats().num_running == 5
    run_and_check(core, [])


def test_separated_steps_are_all_prefill_or_all_decode_and_take_turns():
    core = make_core(scheduling="separated", enable_prefix_caching=False, max_num_seqs=3)
    run_and_check(core, [make_request(f"r{i}", [i + 1] * 5, max_tokens=3 + i) for i in range(6)])
    kinds = []
    for batch in batches(core):
        lens = set(query_lens(batch))
        assert lens in ({1}, {5})
        kinds.append(lens.pop())
    assert kinds.count(5) > 1
    assert all(pair != (5, 5) for pair in pairwise(kinds))


def test_separated_scheduling_starves_no_running_request():
    core = make_core(scheduling="separated", max_num_seqs=2)
    core.add_request(make_request("long", [1, 2, 3], max_tokens=6))
    for index in range(20):  # an endless stream of requests that end with their prefill
        core.add_request(make_request(f"r{index}", [9, index + 1], max_tokens=1))
    ended = []
    for _ in range(12):
        ended += [update.request_id for update in core.step() if update.finish_reason]
    assert "long" in ended
    assert 4 <= len(ended) < 12
