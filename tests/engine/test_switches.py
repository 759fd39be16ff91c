"""Every scheduling switch gives the same tokens: all combinations, tiny pools, forced preemption."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.fake_backend import FakeBackend
from tests.engine.harness import (
    BLOCK_SIZE,
    MAX_MODEL_LEN,
    VOCAB_SIZE,
    backends,
    configs,
    make_core,
    make_request,
    run,
    run_and_check,
    workloads,
)

SWITCHES = list(
    itertools.product(
        (True, False),  # chunked prefill
        (True, False),  # prefix caching
        ("continuous", "static"),
        ("mixed", "separated"),
        ("fcfs", "priority"),
    )
)


def fixed_workload():
    """Shared prefixes, equal prompts, several choices, long outputs: more than the pool holds at once."""
    base = [5, 9, 2, 14, 6, 6, 1, 20, 3, 8, 19, 4]
    return [
        make_request(
            f"r{index}",
            [*base[: 3 + 3 * (index % 4)], index % 2],
            max_tokens=10,
            n=1 + index % 3,
            temperature=float(index % 2),
            seed=index,
            priority=index % 3,
        )
        for index in range(9)
    ]


@pytest.mark.parametrize(("chunked", "caching", "batching", "scheduling", "policy"), SWITCHES)
@pytest.mark.parametrize("num_blocks", [6, 12, 100])
def test_every_combination_gives_the_same_tokens(chunked, caching, batching, scheduling, policy, num_blocks):
    core = make_core(
        num_blocks,
        max_num_batched_tokens=7 if chunked else MAX_MODEL_LEN,
        max_num_seqs=5,
        enable_chunked_prefill=chunked,
        enable_prefix_caching=caching,
        batching=batching,
        scheduling=scheduling,
        policy=policy,
    )
    run_and_check(core, fixed_workload())
    if num_blocks == 12 and batching == "continuous" and not caching:
        assert core.stats().num_preemptions > 0


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(workloads(), configs(), backends())
def test_any_workload_gives_what_the_oracle_says(workload, config, backend):
    core = make_core(backend=backend, **config)
    run_and_check(core, workload)


@settings(max_examples=60)
@given(workloads(), configs(), backends())
def test_tokens_do_not_depend_on_what_else_runs(workload, config, backend):
    together = run(make_core(backend=backend, **config), workload)
    for request in workload:
        alone = run(make_core(), [request])
        for key, token_ids in alone.token_ids.items():
            assert token_ids == together.token_ids[key]


@settings(max_examples=30)
@given(st.integers(1, 3))
def test_several_accepted_tokens_per_step_are_the_same_tokens_in_fewer_steps(tokens_per_step):
    backend = FakeBackend(40, BLOCK_SIZE, VOCAB_SIZE, tokens_per_step=tokens_per_step)
    core = make_core(backend=backend)
    run_and_check(core, [make_request(max_tokens=12)])
    assert core.stats().num_steps == -(-12 // tokens_per_step)
    assert core.stats().num_generated_tokens == 12
