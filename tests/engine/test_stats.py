"""What the engine counts, against what its backend saw."""

import time
from bisect import bisect_left
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.engine.stats import STEP_TOKEN_BOUNDS, EngineCounters
from tests.engine.fake_backend import FakeBackend
from tests.engine.harness import (
    BLOCK_SIZE,
    MAX_MODEL_LEN,
    VOCAB_SIZE,
    backends,
    batches,
    configs,
    make_core,
    make_request,
    run,
    workloads,
)

PROMPT = list(range(1, 12))
NUM_WHOLE_BLOCKS = len(PROMPT) // BLOCK_SIZE * BLOCK_SIZE


@settings(max_examples=60)
@given(requests=workloads(), config=configs(), backend=backends())
def test_steps_and_co_batches_are_those_that_the_backend_saw(requests, config, backend):
    backend.record = True
    core = make_core(backend=backend, **config)
    last = run(core, requests).last.values()
    sizes = [batch.num_seqs for batch in batches(core)]
    assert sum(update.metrics.num_steps for update in last) == sum(sizes)
    assert sum(update.metrics.num_co_batched for update in last) == sum(size * size for size in sizes)
    stats, tokens = core.stats(), [batch.num_tokens for batch in batches(core)]
    classes = [bisect_left(STEP_TOKEN_BOUNDS, number) for number in tokens]
    assert stats.num_steps_by_tokens == [classes.count(i) for i in range(len(STEP_TOKEN_BOUNDS) + 1)]
    assert (stats.num_steps, stats.num_batched_tokens) == (len(tokens), sum(tokens))
    assert [step[2:] for step in core.recent_steps] == list(zip(sizes, tokens, strict=True))


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 2**15, 2**15 + 1, 2**20])
def test_a_step_is_counted_in_the_first_class_that_holds_it(number):
    counters = EngineCounters()
    counters.count_step(number)
    assert counters.num_steps_by_tokens.index(1) == bisect_left(STEP_TOKEN_BOUNDS, number)
    assert sum(counters.num_steps_by_tokens) == 1


@pytest.mark.parametrize(
    ("fields", "queries", "hits"),
    [
        ({}, 2 * len(PROMPT), NUM_WHOLE_BLOCKS),
        ({"n": 3}, 2 * len(PROMPT), NUM_WHOLE_BLOCKS),
        ({"prompt_logprobs": 0}, 0, 0),
    ],
)
def test_a_prompt_is_looked_up_once_and_only_if_it_may_be_found(fields, queries, hits):
    core = make_core()
    for name in "ab":
        run(core, [make_request(name, PROMPT, **fields)])
    stats = core.stats()
    assert (stats.num_prefix_cache_queries, stats.num_prefix_cache_hits) == (queries, hits)


def test_without_a_prefix_cache_nothing_is_looked_up():
    core = make_core(enable_prefix_caching=False)
    run(core, [make_request("a", PROMPT), make_request("b", PROMPT)])
    assert core.stats().num_prefix_cache_queries == 0


def test_a_preempted_request_is_not_looked_up_again():
    backend = FakeBackend(MAX_MODEL_LEN // BLOCK_SIZE, BLOCK_SIZE, VOCAB_SIZE)
    core = make_core(backend=backend)
    requests = [make_request(name, [i, 2, 3, 4], 20) for i, name in enumerate("abc")]
    last = run(core, requests).last.values()
    stats = core.stats()
    assert stats.num_preemptions > 0
    assert sum(update.metrics.num_preemptions for update in last) == stats.num_preemptions
    assert stats.num_prefix_cache_queries == 3 * 4


def test_recent_steps_follow_each_other():
    core = make_core()
    run(core, [make_request("a", PROMPT)])
    times = [time for step in core.recent_steps for time in (step.start, step.end)]
    assert times == sorted(times)
    assert len(times) == 2 * core.stats().num_steps


class AllowAll:
    """A grammar that allows everything, and takes a millisecond to say so."""

    end_token_ids = frozenset()
    is_finished = False

    def new_constraint(self, max_tokens):
        return self

    def forced_tokens(self):
        return []

    def accept(self, token_id):
        pass

    def fill_masks(self, places, masks):
        time.sleep(0.001)
        for _, row in places:
            masks[row] = 0xFFFFFFFF


def test_masks_are_the_time_of_those_that_have_a_grammar():
    core = make_core()
    structured = replace(make_request("a", [1, 2], 5), grammar=AllowAll())
    last = run(core, [structured, make_request("b", [3, 4], 5)]).last
    assert last["a", 0].metrics.grammar_seconds >= 5 * 0.001
    assert last["b", 0].metrics.grammar_seconds is None


@given(st.lists(st.floats(0, 1), max_size=5))
def test_grammar_time_is_absent_until_there_is_some(seconds):
    from gradus.outputs import RequestMetrics

    metrics = RequestMetrics()
    for value in seconds:
        metrics.add_grammar_time(value)
    assert metrics.grammar_seconds == (sum(seconds) if seconds else None)
