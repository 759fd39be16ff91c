"""What each step does, one behaviour at a time, seen in the batches that reach the backend."""

import pytest

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

PROMPT = list(range(10))  # two full blocks and a half


# -- budget and chunks


def test_a_prompt_is_computed_in_chunks_of_the_budget():
    core = make_core(max_num_batched_tokens=4)
    run_and_check(core, [make_request(prompt=PROMPT, max_tokens=3)])
    assert [batch.num_tokens for batch in batches(core)] == [4, 4, 2, 1, 1]
    assert [batch.num_outputs for batch in batches(core)] == [0, 0, 1, 1, 1]


def test_running_requests_get_the_budget_before_waiting_ones():
    core = make_core(max_num_batched_tokens=4)
    core.add_request(make_request("old", [1, 2], max_tokens=8))
    core.step()
    core.add_request(make_request("new", PROMPT))
    core.step()
    assert query_lens(batches(core)[1]) == [1, 3]
    assert batches(core)[1].token_ids[1:].tolist() == PROMPT[:3]


def test_without_chunked_prefill_a_prompt_waits_until_it_fits_whole():
    core = make_core(max_num_batched_tokens=24, enable_chunked_prefill=False)
    run_and_check(core, [make_request(f"r{i}", [i] * 9) for i in range(4)])
    assert all(length in (1, 9) for batch in batches(core) for length in query_lens(batch))
    assert query_lens(batches(core)[0]) == [9, 9]


def test_residency_is_capped_and_not_only_the_step():
    core = make_core(max_num_seqs=3)
    for index in range(7):
        core.add_request(make_request(f"r{index}", [index + 1]))
    checked_step(core)
    assert (core.stats().num_running, core.stats().num_waiting) == (3, 4)
    run_and_check(core, [])


# -- prefix cache


def test_identical_prompts_of_one_step_share_blocks():
    core = make_core()
    first, second = make_request("a", PROMPT), make_request("b", PROMPT)
    core.add_request(first)
    core.add_request(second)
    recorder = Recorder()
    recorder.take(checked_step(core))
    tables = batches(core)[0].block_tables
    assert tables[0, :2].tolist() == tables[1, :2].tolist()
    assert tables[0, 2] != tables[1, 2]
    assert query_lens(batches(core)[0]) == [10, 2]
    assert core.stats().num_used_blocks == 4
    while core.has_unfinished_requests:
        recorder.take(checked_step(core))
    recorder.check(first)
    recorder.check(second)


@pytest.mark.parametrize(("num_prompt", "num_left"), [(8, 4), (9, 1), (10, 2), (4, 4), (1, 1)])
def test_a_fully_cached_prompt_computes_its_last_block_or_what_is_past_it(num_prompt, num_left):
    core = make_core()
    run_and_check(core, [make_request("first", PROMPT[:num_prompt], max_tokens=12)])
    num_batches = len(batches(core))
    recorder = run_and_check(core, [make_request("again", PROMPT[:num_prompt], max_tokens=1)])
    assert [batch.num_tokens for batch in batches(core)[num_batches:]] == [num_left]
    metrics = recorder.last["again", 0].metrics
    assert metrics.num_cached_prompt_tokens == num_prompt - num_left
    assert metrics.num_computed_prompt_tokens == num_left


def test_generated_tokens_are_found_again_too():
    core = make_core()
    recorder = run_and_check(core, [make_request("turn 1", PROMPT, max_tokens=7)])
    longer = [*PROMPT, *recorder.token_ids["turn 1", 0], 3]
    recorder = run_and_check(core, [make_request("turn 2", longer, max_tokens=1)])
    assert recorder.last["turn 2", 0].metrics.num_cached_prompt_tokens == 16


def test_without_prefix_caching_nothing_is_found():
    core = make_core(enable_prefix_caching=False)
    run_and_check(core, [make_request("a", PROMPT), make_request("b", PROMPT)])
    assert query_lens(batches(core)[0]) == [10, 10]
    assert core.stats().num_cached_blocks == core.stats().num_cached_prompt_tokens == 0


# -- several choices


@pytest.mark.parametrize("caching", [True, False])
def test_choices_fork_from_the_computed_prompt_and_copy_only_its_partial_block(caching):
    core = make_core(enable_prefix_caching=caching)
    run_and_check(core, [make_request(prompt=PROMPT, n=3, temperature=1.0, max_tokens=6)])
    first, second = batches(core)[:2]
    assert query_lens(first) == [10]
    assert query_lens(second) == [1, 1, 1]
    assert second.positions.tolist() == [10, 9, 9]  # the leader decodes; the others recompute the last token
    tables = second.block_tables
    assert (tables[:, :2] == tables[0, :2]).all()
    assert second.block_copies.tolist() == [[tables[0, 2], tables[1, 2]], [tables[0, 2], tables[2, 2]]]
    assert second.sampling.choice_index.tolist() == [0, 1, 2]


@pytest.mark.parametrize("caching", [True, False])
def test_a_fork_right_after_a_full_block_copies_nothing(caching):
    core = make_core(enable_prefix_caching=caching)
    run_and_check(core, [make_request(prompt=PROMPT[:9], n=2, max_tokens=3)])
    assert all(len(batch.block_copies) == 0 for batch in batches(core))
    assert query_lens(batches(core)[1]) == [1, 1]


def test_a_fork_of_a_prompt_of_whole_blocks_does_not_write_the_shared_last_one():
    core = make_core()
    run_and_check(core, [make_request(prompt=PROMPT[:8], n=2, max_tokens=3)])
    second = batches(core)[1]
    assert second.positions.tolist() == [8, 7]
    assert second.block_tables[0, 1] != second.block_tables[1, 1]
    assert second.block_copies.tolist() == [[second.block_tables[0, 1], second.block_tables[1, 1]]]


def test_parked_choices_hold_up_nobody():
    core = make_core(max_num_batched_tokens=4, max_num_seqs=3)
    core.add_request(make_request("many", PROMPT, n=3))
    core.add_request(make_request("other", [1]))
    for _ in range(3):
        core.step()
    assert running_ids(core) == ["many", "other"]
    assert core.stats().num_waiting == 2
    run_and_check(core, [])


@pytest.mark.parametrize("caching", [True, False])
def test_choices_go_on_when_their_leader_is_gone(caching):
    request = make_request("r", PROMPT, n=3, max_tokens=5)
    for num_steps in (0, 1, 2, 3):
        core = make_core(enable_prefix_caching=caching, max_num_batched_tokens=6, max_num_seqs=1)
        core.add_request(request)
        recorder = Recorder()
        for _ in range(num_steps):
            recorder.take(checked_step(core))
        core.abort("r", 0)
        while core.has_unfinished_requests:
            recorder.take(checked_step(core))
        recorder.check(request)
        assert [recorder.last["r", choice].finish_reason for choice in range(3)] == [
            "abort",
            "length",
            "length",
        ]


# -- preemption and policies


def test_whoever_came_last_is_preempted_and_comes_back_to_its_place():
    core = make_core(num_blocks=6, max_num_batched_tokens=30)
    workload = [make_request(f"r{i}", [i + 1] * 7, max_tokens=12) for i in range(4)]
    for request in workload:
        core.add_request(request)
    recorder = Recorder()
    seen = []
    while core.has_unfinished_requests:
        recorder.take(checked_step(core))
        seen.append(running_ids(core))
    assert seen[0] == ["r0", "r1", "r2"]
    assert seen[1] == ["r0", "r1", "r2"]
    assert ["r0", "r1"] in seen
    assert [request_id for request_id, _ in recorder.last] == ["r0", "r1", "r2", "r3"]
    assert core.stats().num_preemptions > 0
    assert recorder.last["r0", 0].metrics.num_preemptions == 0
    for request in workload:
        recorder.check(request)


def test_a_request_that_fills_the_whole_pool_gets_through_among_others():
    core = make_core(num_blocks=6)
    big = make_request("big", [1] * 8, max_tokens=16)
    run_and_check(core, [make_request("small", [2] * 6), big, make_request("late", [3] * 6)])


def test_priority_decides_who_is_admitted_and_arrival_among_equals():
    core = make_core(max_num_seqs=1, policy="priority")
    order = [("c", 1), ("b", 0), ("d", 1), ("a", -5)]
    recorder = run_and_check(core, [make_request(name, [1], priority=value) for name, value in order])
    assert [request_id for request_id, _ in recorder.last] == ["a", "b", "c", "d"]


def test_fcfs_ignores_priority():
    core = make_core(max_num_seqs=1)
    order = [("c", 1), ("b", 0), ("a", -5)]
    recorder = run_and_check(core, [make_request(name, [1], priority=value) for name, value in order])
    assert [request_id for request_id, _ in recorder.last] == ["c", "b", "a"]


def test_priority_preempts_the_least_urgent_first():
    core = make_core(num_blocks=6, policy="priority")
    core.add_request(make_request("lax", [1] * 7, max_tokens=12, priority=9))
    core.step()
    core.add_request(make_request("urgent", [2] * 7, max_tokens=12, priority=1))
    core.add_request(make_request("normal", [3] * 7, max_tokens=12, priority=5))
    core.step()
    assert running_ids(core) == ["urgent", "normal", "lax"]
    while not core.stats().num_preemptions:
        core.step()
    assert running_ids(core) == ["urgent", "normal"]
    run_and_check(core, [])
