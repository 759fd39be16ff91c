"""What steps computed, and the least time that it takes."""

import numpy as np
import pytest

from gradus.bench.ceilings import Ceilings
from gradus.bench.engine_driver import EngineDriver, SeenStep
from gradus.bench.op_costs import op_cost
from gradus.bench.step_batches import StepShape, decode_shape, make_batch, prefill_shape
from gradus.bench.utilization import StepBounds, StepWork, utilization, watched_steps
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.runtime import load_runtime

KINDS = ("f32", "int8", "int4")
WORKLOAD = FixedWorkload(name="small", num_requests=5, concurrency=3, input_len=20, output_len=6)


@pytest.fixture(scope="module")
def runtime():
    runtime = load_runtime(EngineConfig(enable_prefix_caching=False, max_num_batched_tokens=32))
    yield runtime
    runtime.close()


def bounds(runtime, macs, read):
    threads = runtime.backend.num_threads
    ceilings = Ceilings({(kind, threads): [macs] for kind in KINDS}, {threads: [read]})
    return StepBounds(runtime.backend, runtime.source.config, ceilings)


@pytest.mark.parametrize(
    "shape", [decode_shape(3, 17), prefill_shape(40), StepShape("chunks", num_seqs=2, num_new=8, context=24)]
)
def test_a_batch_is_as_large_as_the_shape_that_it_was_made_of(shape):
    work = StepWork.of(make_batch(shape, 16, 100))
    for name in ("num_tokens", "num_seqs", "num_attended", "num_sampled_attended", "num_context", "length"):
        assert getattr(work, name) == getattr(shape, name)


def test_sequences_of_several_lengths_add_up():
    batch = make_batch(decode_shape(2, 10), 16, 100)
    batch.query_start = np.array([0, 1, 4], np.int32)  # one token after 10, and three after 5
    batch.context_lens = np.array([11, 8], np.int32)
    batch.token_ids = np.zeros(4, np.int32)
    batch.positions = np.array([10, 5, 6, 7], np.int32)
    batch.output_rows = np.array([0, 3], np.int32)
    attended = 11 + (6 + 7 + 8)  # each token attends to those before it and to itself
    assert StepWork.of(batch) == StepWork(4, 2, attended, 11 + 8, 19, 11)


def test_the_engines_steps_are_seen_with_every_token(runtime):
    requests = WORKLOAD.requests(runtime.source.config.vocab_size, 0)
    backend = runtime.core.backend
    with watched_steps(runtime.core) as works:
        driven = EngineDriver(runtime).run(requests, WORKLOAD.concurrency)
    assert runtime.core.backend is backend
    assert sum(work.num_tokens for work in works) == 5 * 20 + 5 * 5  # the last token is never computed
    assert sum(work.num_seqs for work in works) == 5 * 6
    whole = sum(length * (length + 1) // 2 for length in [25] * 5)  # 1 + 2 + ... + 25 for each
    assert sum(work.num_attended for work in works) == whole
    assert len(works) == sum(step.kind is not None for step in driven.each_step)


def test_a_bound_is_the_sum_of_the_operations_bounds(runtime):
    work = decode_shape(2, 30)
    costs = [
        op_cost(operation, work, runtime.source.config, runtime.backend.kv_bytes_per_token)
        for operation in runtime.backend.operations
    ]
    num_bytes = sum(cost.num_bytes or 0 for cost in costs)
    num_macs = sum(cost.num_macs or 0 for cost in costs)
    assert bounds(runtime, 1e30, 1e6).seconds(work) == pytest.approx(num_bytes / 1e6)
    assert bounds(runtime, 1e6, 1e30).seconds(work) == pytest.approx(num_macs / 1e6)


def test_utilization_is_by_kind_and_halves_when_steps_take_twice_as_long(runtime):
    works = [prefill_shape(16), decode_shape(2, 16)]
    limits = bounds(runtime, 1e9, 1e9)
    least = [limits.seconds(work) for work in works]

    def seen(prompt, decode, seconds):
        return SeenStep(prompt, decode, seconds, end=0.0, num_resident=0, num_used_blocks=0)

    steps = [seen(16, 0, 2 * least[0]), seen(0, 0, 1.0), seen(0, 2, 4 * least[1])]
    found = utilization(limits, works, steps)
    assert found["prefill"] == pytest.approx(0.5)
    assert found["decode"] == pytest.approx(0.25)
    assert found["all"] == pytest.approx(sum(least) / (2 * least[0] + 4 * least[1]))
    assert "mixed" not in found
