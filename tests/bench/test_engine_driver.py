"""The driver's account of a run adds up, and it runs what `LLM` would."""

from itertools import pairwise

import pytest

from gradus.bench.engine_driver import EngineDriver, StepAccount
from gradus.bench.workloads.base import WorkloadRequest
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import InvalidRequestError
from gradus.llm import LLM
from gradus.runtime import load_runtime
from gradus.sampling_params import SamplingParams

WORKLOAD = FixedWorkload(name="small", num_requests=7, concurrency=3, input_len=20, output_len=6)


@pytest.fixture(scope="module")
def runtime():
    runtime = load_runtime(EngineConfig(enable_prefix_caching=False, max_num_batched_tokens=32))
    yield runtime
    runtime.close()


def test_tokens_are_those_of_the_offline_api(runtime):
    requests = WORKLOAD.requests(runtime.source.config.vocab_size, 0)
    driven = EngineDriver(runtime).run(requests, WORKLOAD.concurrency)
    with LLM(enable_prefix_caching=False) as llm:
        params = SamplingParams(temperature=0, max_tokens=WORKLOAD.output_len, ignore_eos=True)
        outputs = llm.generate([{"prompt_token_ids": request.prompt} for request in requests], params)
    assert driven.token_ids == [output.outputs[0].token_ids for output in outputs]


def test_counters_and_clocks_add_up(runtime):
    requests = WORKLOAD.requests(runtime.source.config.vocab_size, 1)
    driven = EngineDriver(runtime).run(requests, WORKLOAD.concurrency)
    assert driven.num_generated_tokens == driven.run.num_output_tokens == 7 * 6
    assert driven.num_computed_prompt_tokens == driven.run.num_prompt_tokens == 7 * 20
    kinds = (driven.steps.prefill, driven.steps.decode, driven.steps.mixed)
    assert sum(kind.num_prompt_tokens for kind in kinds) == 7 * 20
    assert sum(kind.num_decode_tokens for kind in kinds) == 7 * 5  # the first comes of the prompt's step
    assert 0 < sum(kind.seconds for kind in kinds) <= driven.run.seconds
    for request in driven.run.requests:
        assert 0 <= request.start < request.first_token < request.end
        assert len(request.token_times) == 6
        assert (request.token_times[0], request.token_times[-1]) == (request.first_token, request.end)
        assert sum(request.itls) == pytest.approx(request.e2e - request.ttft)


def test_no_more_run_at_a_time_than_asked_for(runtime):
    requests = WORKLOAD.requests(runtime.source.config.vocab_size, 2)
    timings = EngineDriver(runtime).run(requests, 3).run.requests
    for request in timings:
        others = [other for other in timings if other.start <= request.start < other.end]
        assert len(others) <= 3
    alone = EngineDriver(runtime).run(requests[:3], 1).run.requests
    assert all(earlier.end <= later.start for earlier, later in pairwise(alone))


def test_requests_wait_for_their_arrival_and_for_whom_they_follow(runtime):
    later = WorkloadRequest([1, 2, 3], 4, arrival=0.05)
    requests = [later, WorkloadRequest([1, 2, 3, 4], 4, after=0), WorkloadRequest([5], 4)]
    arriving, following, first = EngineDriver(runtime).run(requests, None).run.requests
    assert arriving.start == 0.05  # as it arrived, whatever the engine did then
    assert arriving.first_token > 0.05
    assert following.start >= arriving.end
    assert first.start < 0.05


def test_forgotten_prefixes_are_not_found_again():
    runtime = load_runtime(EngineConfig(block_size=16))
    try:
        driver, requests = EngineDriver(runtime), [WorkloadRequest(list(range(40)), 2)]
        found = []
        for _ in range(2):
            found.append(driver.run(requests, 1).num_cached_prompt_tokens)
        driver.forget_prefixes()
        assert [*found, driver.run(requests, 1).num_cached_prompt_tokens] == [0, 32, 0]
    finally:
        runtime.close()


def test_what_does_not_fit_is_refused_as_anywhere(runtime):
    too_long = [WorkloadRequest([1] * (runtime.cache.max_model_len + 1), 1)]
    with pytest.raises(InvalidRequestError):
        EngineDriver(runtime).run(too_long, 1)


def test_steps_are_told_apart_by_what_they_computed():
    account = StepAccount()
    account.add(10, 0, 1.0)
    account.add(0, 4, 0.5)
    account.add(0, 2, 0.5)
    account.add(0, 0, 9.0)  # nothing was computed
    other = StepAccount()
    other.add(3, 1, 2.0)
    account.merge(other)
    assert account.as_dict() == {
        "prefill": {"num_steps": 1, "num_prompt_tokens": 10, "seconds": 1.0, "tokens_per_second": 10.0},
        "decode": {"num_steps": 2, "num_decode_tokens": 6, "seconds": 1.0, "tokens_per_second": 6.0},
        "mixed": {
            "num_steps": 1,
            "num_prompt_tokens": 3,
            "num_decode_tokens": 1,
            "seconds": 2.0,
            "tokens_per_second": 2.0,
        },
    }
    assert StepAccount().as_dict() == {"prefill": None, "decode": None, "mixed": None}
