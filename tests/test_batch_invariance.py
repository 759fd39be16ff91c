"""A request's tokens and logprobs depend on its prompt, parameters and seed alone: bit for bit.

Hypothesis draws workloads; each request's result alone, on an idle engine, is the oracle for the same request
among others, chunked at any size, with cache hits, after preemption, and with another number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradus.backends.attention import cpu_has_bf16
from gradus.batch import Backend, Batch, StepResult
from gradus.config import SchedulerConfig
from gradus.engine.core import EngineCore
from gradus.messages import EngineRequest
from gradus.sampling_params import SamplingParams
from tests.tiny_models import tiny_backend

MAX_MODEL_LEN = 512
SYSTEM_PROMPT = [7 * i % 97 for i in range(70)]  # a prefix that drawn prompts may share

Result = list[tuple[list[int], list[float]]]  # per choice: token ids and logprobs


@dataclass(frozen=True)
class FewBlocks:
    """A backend that admits to only so many of its KV blocks, so that requests get preempted."""

    backend: Backend
    num_blocks: int

    @property
    def block_size(self) -> int:
        return self.backend.block_size

    @property
    def vocab_size(self) -> int:
        return self.backend.vocab_size

    def execute(self, batch: Batch) -> StepResult:
        return self.backend.execute(batch)

    def close(self) -> None:
        self.backend.close()


WEIGHTS = {
    "f32": {},
    "int8": {"quantization": "int8", "activations": "int8"},
    "int4": {"quantization": "int4", "activations": "int8"},
    "int4-bf16": {
        "quantization": "int4",
        "activations": "int8",
        "attention": "bf16" if cpu_has_bf16() else "blocked",
    },
    "int4-attention-int8": {
        "quantization": "int4",
        "activations": "int8",
        "attention": "int8" if cpu_has_bf16() else "blocked",
    },
    "int4-f32": {"quantization": "int4", "activations": "f32"},
    "int4-all": {"quantization": "int4-all", "activations": "int8"},
}


@pytest.fixture(scope="module", params=WEIGHTS)
def backends(request):
    made = {threads: tiny_backend(num_threads=threads, **WEIGHTS[request.param]) for threads in (1, 2)}
    yield made
    for backend in made.values():
        backend.close()


def run(core: EngineCore, requests: Sequence[EngineRequest], steps_between: int = 0) -> list[Result]:
    """Each request's choices; a new request arrives every `steps_between` steps, or all at once."""
    results = {r.request_id: [([], []) for _ in range(r.params.n)] for r in requests}

    def step() -> None:
        for update in core.step():
            assert update.finish_reason in (None, "length"), update.error
            tokens, logprobs = results[update.request_id][update.choice_index]
            tokens += update.new_token_ids
            logprobs += [entry.logprob for entry in update.logprobs or []]
            logprobs += [value for entry in update.logprobs or [] for _, value in entry.top]
            if update.about_prompt is not None:
                for entry in update.about_prompt.logprobs:
                    logprobs += [entry.logprob, *(value for _, value in entry.top)]

    for request in requests:
        core.add_request(request)
        for _ in range(steps_between):
            step()
    while core.has_unfinished_requests:
        step()
    core.check_integrity()
    return [results[r.request_id] for r in requests]


@st.composite
def prompts(draw: st.DrawFn) -> list[int]:
    own = draw(st.lists(st.integers(0, 96), min_size=1, max_size=60))
    shared = draw(st.sampled_from([0, 0, 16, 33, 70]))
    long = draw(st.sampled_from([0, 0, 0, 290]))  # past the attention kernel's first partition
    return SYSTEM_PROMPT[:shared] + [(i * i + own[0]) % 97 for i in range(long)] + own


@st.composite
def workloads(draw: st.DrawFn) -> list[EngineRequest]:
    requests = []
    for index in range(draw(st.integers(1, 6))):
        params = SamplingParams(
            n=draw(st.sampled_from([1, 1, 1, 3])),
            temperature=draw(st.sampled_from([0.0, 0.7, 1.5])),
            top_p=draw(st.sampled_from([1.0, 0.9])),
            top_k=draw(st.sampled_from([0, 5])),
            min_p=draw(st.sampled_from([0.0, 0.0, 0.1])),
            min_tokens=draw(st.sampled_from([0, 0, 3])),
            presence_penalty=draw(st.sampled_from([0.0, 0.0, 1.5])),
            frequency_penalty=draw(st.sampled_from([0.0, 0.0, -0.5])),
            repetition_penalty=draw(st.sampled_from([1.0, 1.0, 1.3])),
            logit_bias=draw(st.sampled_from([None, None, {3: 5.0, 50: -100.0}])),
            allowed_token_ids=draw(st.sampled_from([None, None, list(range(40, 97))])),
            logprobs=3,
            prompt_logprobs=draw(st.sampled_from([None, None, 0, 2])),
        )
        requests.append(
            EngineRequest(
                request_id=str(index),
                prompt_token_ids=draw(prompts()),
                params=params,
                max_tokens=draw(st.integers(1, 12)),
                delayed_token_ids=draw(st.sampled_from([(), (41, 60)])),
                bad_words=draw(st.sampled_from([(), ((45,), (50, 51), (90, 90))])),
                seed=draw(st.integers(0, 2**63 - 1)),
                priority=draw(st.integers(0, 2)),
            )
        )
    return requests


@st.composite
def schedulers(draw: st.DrawFn) -> SchedulerConfig:
    chunked = draw(st.booleans())
    return SchedulerConfig(
        max_model_len=MAX_MODEL_LEN if chunked else 256,
        max_num_batched_tokens=draw(st.sampled_from([1, 3, 16, 37, 256])) if chunked else 256,
        max_num_seqs=draw(st.sampled_from([1, 2, 5, 16])),
        enable_chunked_prefill=chunked,
        enable_prefix_caching=draw(st.booleans()),
        batching=draw(st.sampled_from(["continuous", "continuous", "static"])),
        scheduling=draw(st.sampled_from(["mixed", "mixed", "separated"])),
        policy=draw(st.sampled_from(["fcfs", "priority"])),
    )


def fits(request: EngineRequest, scheduler: SchedulerConfig) -> bool:
    return len(request.prompt_token_ids) + request.max_tokens <= scheduler.max_model_len


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(workload=workloads(), scheduler=schedulers(), threads=st.sampled_from([1, 2]), data=st.data())
def test_results_do_not_depend_on_what_else_runs(backends, workload, scheduler, threads, data):
    workload = [request for request in workload if fits(request, scheduler)]
    longest = max((len(r.prompt_token_ids) + r.max_tokens for r in workload), default=1)
    num_blocks = data.draw(st.integers(-(-longest // 16), 64), label="num_blocks")
    steps_between = data.draw(st.sampled_from([0, 0, 1, 4]), label="steps_between")
    together = run(EngineCore(FewBlocks(backends[threads], num_blocks), scheduler), workload, steps_between)

    idle = SchedulerConfig(
        max_model_len=MAX_MODEL_LEN, enable_prefix_caching=False, max_num_batched_tokens=256
    )
    for request, result in zip(workload, together, strict=True):
        assert run(EngineCore(backends[1], idle), [request]) == [result]


def a_request(name: str, prompt: list[int], **changes: object) -> EngineRequest:
    params = SamplingParams(temperature=1.0, logprobs=3)
    return EngineRequest(
        **({"request_id": name, "prompt_token_ids": prompt, "params": params, "max_tokens": 40} | changes)
    )


def test_preemption_really_happens_and_changes_nothing(backends):
    requests = [a_request(str(i), SYSTEM_PROMPT[i:]) for i in range(6)]
    core = EngineCore(FewBlocks(backends[2], 13), SchedulerConfig(max_model_len=MAX_MODEL_LEN))
    together = run(core, requests)
    assert core.stats().num_preemptions > 0
    for request, result in zip(requests, together, strict=True):
        alone = EngineCore(backends[1], SchedulerConfig(max_model_len=MAX_MODEL_LEN))
        assert run(alone, [request]) == [result]


def test_a_cache_hit_really_happens_and_changes_nothing(backends):
    core = EngineCore(backends[2], SchedulerConfig(max_model_len=MAX_MODEL_LEN))
    first, second = (run(core, [a_request(name, SYSTEM_PROMPT)]) for name in "ab")
    assert core.stats().num_cached_prompt_tokens == 64
    assert first == second


def draw_at_another_position(batch: Batch) -> None:
    batch.sampling.position += 1


def count_a_token_more(batch: Batch) -> None:
    batch.sampling.edits.seen_counts += 1


def read_a_block_twice(batch: Batch) -> None:
    """Two blocks in each other's place would only change the order of sums: keys carry their positions."""
    long = batch.context_lens.argmax()
    batch.block_tables[long, 0] = batch.block_tables[long, 1]


@pytest.mark.parametrize("spoil", [draw_at_another_position, count_a_token_more, read_a_block_twice])
def test_the_comparison_notices_a_mistake_in_shared_steps(backends, spoil):
    @dataclass(frozen=True)
    class Spoiled(FewBlocks):
        def execute(self, batch: Batch) -> StepResult:
            if batch.num_seqs > 1 and batch.num_tokens == batch.num_seqs:
                spoil(batch)
            return super().execute(batch)

    scheduler = SchedulerConfig(max_model_len=MAX_MODEL_LEN)
    params = SamplingParams(temperature=1.0, frequency_penalty=1.0, logprobs=3)
    requests = [
        a_request(name, SYSTEM_PROMPT[start:], params=params) for name, start in (("a", 0), ("b", 40))
    ]
    right = run(EngineCore(backends[2], scheduler), requests)
    assert run(EngineCore(Spoiled(backends[2], 64), scheduler), requests) != right
