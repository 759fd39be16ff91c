"""The bounds against hand-made runs whose times are known, and against the model's published shapes."""

from types import SimpleNamespace

import pytest

from gradus.bench.ceilings import Ceilings
from gradus.bench.engine_driver import DrivenRun, SeenStep, StepAccount
from gradus.bench.pairs import bounds
from gradus.bench.pairs.measure import Measured
from gradus.bench.rounds import Rounds
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.utilization import StepBounds
from gradus.bench.workloads.base import WorkloadRequest
from gradus.config import EngineConfig
from gradus.runtime import load_runtime


def request(num_prompt, output_len, first=0):
    return WorkloadRequest(list(range(first, first + num_prompt)), output_len)


def step(num_prompt, num_decode, seconds, num_resident=0):
    return SeenStep(num_prompt, num_decode, seconds, 0.0, num_resident, 0)


def driven(timings=(), steps=(), num_cached=0):
    return DrivenRun(Run(tuple(timings)), StepAccount(), list(steps), [], [], 0, 0, num_cached, 0)


def measured(engines, requests, runs, figures=None):
    sides = figures or {side: [{} for _ in rounds] for side, rounds in runs.items()}
    return Measured(engines, requests, Rounds(sides), runs)


def seats(count):
    return SimpleNamespace(core=SimpleNamespace(config=SimpleNamespace(max_num_seqs=count)))


def cost(num_decode, num_prompt=0):
    """What a step takes in these tests."""
    return 1.0 + 0.1 * num_decode + 0.01 * num_prompt


def test_full_batches_are_bounded_by_what_steps_cost():
    requests = [request(10, 4), request(10, 2), request(10, 1), request(10, 3)]
    # Two seats. Static: (4, 2), then (1, 3): 4 + 3 steps; full: ten tokens in five steps of two.
    static = [step(0, n, cost(n)) for n in (2, 2, 1, 1, 2, 1, 1)] + [step(20, 0, cost(0, 20) - 1.0)]
    found = bounds.occupancy(
        measured(
            {"static": seats(2), "continuous": seats(2)},
            [requests],
            {"static": [driven(steps=static)], "continuous": [driven(steps=[step(0, 2, cost(2))] * 5)]},
            {
                "static": [{"output_tokens_per_second": 2.0}],
                "continuous": [{"output_tokens_per_second": 2.5}],
            },
        )
    )
    static_seconds, full_seconds = 3 * cost(2) + 4 * cost(1) + 0.4, 5 * cost(2) + 0.4
    assert found.bound == pytest.approx(static_seconds / full_seconds)
    assert found.measured.median == 1.25
    assert found.details["bound_if_every_step_cost_the_same"] == pytest.approx(7 / 5)
    assert found.checks == {"static_batches_took_the_steps_of_their_longest_outputs": False}  # 8, not 7
    assert found.as_dict()["is_reached"] is (0.9 * found.bound <= 1.25)


def test_a_longest_output_bounds_full_batches_too():
    assert bounds.full_steps([9, 1, 1], 4) == 9
    assert bounds.full_steps([3, 3, 3], 2) == 5
    assert bounds.static_steps([3, 1, 2], 2) == [2, 1, 1, 1, 1]


def test_a_prompt_finds_whole_blocks_of_earlier_ones_but_not_its_last_token():
    prompts = [request(10, 1), request(10, 1), request(9, 1), request(8, 1), request(10, 1, first=1)]
    assert bounds.reusable_tokens(prompts, 4) == [0, 8, 8, 4, 0]


@pytest.fixture(scope="module")
def demo():
    runtime = load_runtime(EngineConfig(max_model_len=128, num_kv_blocks=16))
    yield runtime
    runtime.close()


def macs(model, start, end):
    """By the architecture's formulas, of the tokens from `start` to `end` of a prompt."""
    hidden, heads, kv_heads, dim = model.hidden_size, model.num_heads, model.num_kv_heads, model.head_dim
    num_tokens, mlp = end - start, 3 * hidden * model.intermediate_size
    projections, output = hidden * dim * (heads + 2 * kv_heads), hidden * dim * heads
    attended = sum(position + 1 for position in range(start, end))
    layer = num_tokens * (projections + output + mlp) + 2 * attended * heads * dim
    # The last layer's attention and all that follows it: of the last token alone.
    last = num_tokens * projections + 2 * end * heads * dim + output + mlp
    return (model.num_layers - 1) * layer + last + hidden * model.vocab_size


def ceilings_of(backend):
    """Of a machine where a multiply-add takes a microsecond, and reading nothing."""
    return Ceilings({("f32", backend.num_threads): [1e6]}, {backend.num_threads: [1e30]})


@pytest.mark.parametrize(("start", "end"), [(0, 100), (80, 100), (99, 100)])
def test_the_least_time_is_the_architectures(demo, start, end):
    least = StepBounds(demo.backend, demo.source.config, ceilings_of(demo.backend))
    expected = macs(demo.source.config, start, end) / 1e6
    assert least.seconds(bounds.prefill(start, end)) == pytest.approx(expected)


def timing(ttft, num_prompt=100, start=0.0, token_times=()):
    end = token_times[-1] if token_times else start + ttft
    return RequestTiming(start, start + ttft, end, num_prompt, max(1, len(token_times)), token_times)


def test_prefix_reuse_is_bounded_by_the_work_that_it_skips(demo, monkeypatch):
    monkeypatch.setattr(bounds, "measure_ceilings", lambda variant, threads: ceilings_of(demo.backend))
    requests = [request(100, 1), request(100, 1)]  # the second finds six blocks of 16
    runs = {
        "off": [driven([timing(4.0), timing(4.0)])],
        "on": [driven([timing(4.0), timing(0.5)], num_cached=96)],
    }
    found = bounds.skipped_prefill(measured({"off": demo, "on": demo}, [requests], runs))
    model = demo.source.config
    assert found.bound == pytest.approx(macs(model, 0, 100) / macs(model, 96, 100))
    assert found.measured.median == 8.0
    assert set(found.checks.values()) == {True}
    runs["on"] = [driven([timing(4.0), timing(0.5)], num_cached=80)]
    found = bounds.skipped_prefill(measured({"off": demo, "on": demo}, [requests], runs))
    assert set(found.checks.values()) == {False}


def test_without_a_prefix_in_common_there_is_nothing_to_bound(demo):
    runs = {side: [driven([timing(1.0)])] for side in ("off", "on")}
    assert bounds.skipped_prefill(measured({"off": demo, "on": demo}, [[request(100, 1)]], runs)) is None


def test_memory_allows_as_many_prompts_as_it_has_tokens():
    engines = {
        "contiguous": SimpleNamespace(cache=SimpleNamespace(num_tokens=64, num_blocks=2)),
        "paged": SimpleNamespace(cache=SimpleNamespace(num_tokens=64, num_blocks=4)),
    }
    requests = [request(n, 2) for n in (10, 20, 20, 14, 1)]  # the first four fill it
    runs = {
        "contiguous": [driven(steps=[step(30, 0, 1.0, 2), step(0, 2, 1.0, 3)])],
        "paged": [driven(steps=[step(50, 0, 1.0, 3), step(0, 3, 1.0, 4)])],
    }
    found = bounds.resident_sequences(measured(engines, [requests], runs))
    assert found.bound == 4 / 2
    assert found.measured.median == 3 / 2
    assert found.as_dict()["is_reached"] is False
    assert set(found.checks.values()) == {True}


def run_beside_long(gap, stream_end=20.0):
    """A short request, a stream whose tokens come every 0.5 s but for one gap, and a long prompt."""
    times = [1.0, 1.5, 2.0, 2.0 + gap, stream_end]
    timings = [
        timing(1.0, 5, token_times=[1.0, 1.2]),
        timing(1.0, 5, token_times=times),
        timing(gap, 900, start=1.8),
    ]
    return driven(timings, [step(900 if gap > 1 else 100, 1, gap)])


def test_the_gap_is_that_of_streams_while_the_long_prompt_is_computed():
    runs = {"whole": [run_beside_long(8.0)], "256": [run_beside_long(1.0, stream_end=9.0)]}
    found = bounds.longest_gap(measured({}, [[]], runs))
    assert bounds.gap_beside_longest(runs["whole"][0]) == pytest.approx(8.0)
    assert bounds.gap_beside_longest(runs["256"][0]) == pytest.approx(1.0)  # not the one of 6 s after it
    assert found.measured.median == pytest.approx(8.0)
    assert found.bound == 900 / 100
    assert found.as_dict()["is_reached"] is True


def test_streams_that_ended_before_the_long_prompt_was_computed_are_noticed():
    runs = {"whole": [run_beside_long(8.0, stream_end=9.7)], "256": [run_beside_long(1.0)]}
    assert set(bounds.longest_gap(measured({}, [[]], runs)).checks.values()) == {False}
