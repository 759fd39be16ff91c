"""Runs workloads through an `EngineCore` over the fake backend and checks what must hold at every step."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gradus.batch import Batch
from gradus.config import SchedulerConfig
from gradus.engine.core import EngineCore
from gradus.engine.request import RequestStatus
from gradus.messages import EngineRequest, RequestUpdate
from gradus.sampling_params import SamplingParams
from tests.engine.fake_backend import FakeBackend, expected_output, expected_prompt_logprobs

BLOCK_SIZE = 4
MAX_MODEL_LEN = 24
VOCAB_SIZE = 30
ChoiceKey = tuple[str, int]


def make_request(
    request_id: str = "r", prompt: Iterable[int] = (1, 2, 3), max_tokens: int = 4, **kwargs: Any
):
    """A request; keywords that `EngineRequest` does not know go to its `SamplingParams`."""
    names = ("eos_token_ids", "thinking", "seed", "priority", "cache_salt")
    own = {name: kwargs.pop(name) for name in names if name in kwargs}
    return EngineRequest(
        request_id=request_id,
        prompt_token_ids=list(prompt),
        max_tokens=max_tokens,
        params=SamplingParams(**{"temperature": 0.0, **kwargs}),
        **own,
    )


def make_core(num_blocks: int = 64, backend: FakeBackend | None = None, **config: Any) -> EngineCore:
    backend = backend or FakeBackend(num_blocks, BLOCK_SIZE, VOCAB_SIZE, record=True)
    return EngineCore(backend, SchedulerConfig(**{"max_model_len": MAX_MODEL_LEN, **config}))


class Recorder:
    """Collects each choice's updates and refuses any after its last."""

    def __init__(self) -> None:
        self.token_ids: dict[ChoiceKey, list[int]] = {}
        self.last: dict[ChoiceKey, RequestUpdate] = {}
        self.prompt_logprobs: dict[ChoiceKey, list[float]] = {}

    def take(self, updates: Iterable[RequestUpdate]) -> None:
        for update in updates:
            key = (update.request_id, update.choice_index)
            assert key not in self.last, f"{key} was updated after its end"
            self.token_ids.setdefault(key, []).extend(update.new_token_ids)
            if update.about_prompt is not None:
                assert key not in self.prompt_logprobs, f"{key} was told of its prompt twice"
                self.prompt_logprobs[key] = [entry.logprob for entry in update.about_prompt.logprobs or []]
            if update.finish_reason is not None:
                self.last[key] = update

    def check(self, request: EngineRequest, *, poison: int | None = None, steps_failed: bool = False) -> None:
        """Compare every choice with the oracle. What was aborted or failed has the first of its tokens."""
        for choice in range(request.params.n):
            key = (request.request_id, choice)
            expected = expected_output(request, choice, VOCAB_SIZE, poison)
            last, token_ids = self.last[key], self.token_ids[key]
            if token_ids and choice == 0 and request.params.prompt_logprobs is not None:
                assert self.prompt_logprobs[key] == expected_prompt_logprobs(request.prompt_token_ids)
            else:
                assert key not in self.prompt_logprobs
            assert (last.error is not None) == (last.finish_reason == "error")
            if last.finish_reason == "abort" or (last.finish_reason == "error" and steps_failed):
                assert token_ids == expected.token_ids[: len(token_ids)], key
            else:
                assert token_ids == expected.token_ids, key
                assert last.finish_reason == expected.finish_reason, last.error
                assert last.stop_reason == expected.stop_reason


def checked_step(core: EngineCore) -> list[RequestUpdate]:
    """One step, and what must hold after each."""
    backend, config = core.backend, core.config
    assert isinstance(backend, FakeBackend)
    backend.record = True
    num_steps = len(backend.batches)
    updates = core.step()
    assert not backend.defects, backend.defects
    core.check_integrity()
    waiting = [c for choices in core._choices.values() for c in choices if c.status is RequestStatus.WAITING]
    assert core.num_waiting_tokens == sum(choice.num_tokens for choice in waiting)
    assert len(core.scheduler.running) <= config.max_num_seqs
    for batch in backend.batches[num_steps:]:
        assert batch.num_tokens <= config.max_num_batched_tokens
        assert batch.num_seqs <= config.max_num_seqs
    return updates


def run(core: EngineCore, requests: Iterable[EngineRequest], max_steps: int = 5000) -> Recorder:
    """Add the requests and step until all have ended; then the pool must be idle."""
    for request in requests:
        core.add_request(request)
    recorder = Recorder()
    for _ in range(max_steps):
        if not core.has_unfinished_requests:
            break
        recorder.take(checked_step(core))
    assert not core.has_unfinished_requests, f"no end after {max_steps} steps"
    check_idle(core)
    return recorder


def check_idle(core: EngineCore) -> None:
    core.pool.check_integrity()
    stats = core.stats()
    assert (stats.num_running, stats.num_waiting, stats.num_used_blocks) == (0, 0, 0)
    assert stats.num_free_blocks == stats.num_blocks


def run_and_check(core: EngineCore, requests: list[EngineRequest]) -> Recorder:
    recorder = run(core, requests)
    for request in requests:
        recorder.check(request)
    return recorder


# -- looking into steps


def batches(core: EngineCore) -> list[Batch]:
    """Every batch that reached the backend."""
    assert isinstance(core.backend, FakeBackend)
    return core.backend.batches


def query_lens(batch: Batch) -> list[int]:
    return np.diff(batch.query_start).tolist()


def running_ids(core: EngineCore) -> list[str]:
    return [request.request_id for request in core.scheduler.running]


# -- workloads

_PREFIX = [7, 3, 9, 1, 4, 4, 8, 2, 6, 5, 11, 13, 17, 12, 10, 21]
TOKENS = st.integers(0, VOCAB_SIZE - 1)


@st.composite
def requests(draw: st.DrawFn, request_id: str = "r") -> EngineRequest:
    """A request that shares a prefix of any length with most others."""
    prompt = _PREFIX[: draw(st.integers(0, len(_PREFIX)))] + draw(st.lists(TOKENS, max_size=4))
    prompt = prompt or [0]
    return make_request(
        request_id,
        prompt,
        draw(st.integers(1, MAX_MODEL_LEN - len(prompt))),
        n=draw(st.integers(1, 3)),
        temperature=draw(st.sampled_from([0.0, 1.0])),
        seed=draw(st.integers(-(2**63), 2**63 - 1)),
        priority=draw(st.integers(-2, 2)),
        eos_token_ids=frozenset(draw(st.lists(TOKENS, max_size=1))),
        stop_token_ids=draw(st.lists(TOKENS, max_size=1)),
        logprobs=draw(st.sampled_from([None, 0, 2])),
        prompt_logprobs=draw(st.sampled_from([None, None, 0, 1])),
    )


@st.composite
def workloads(draw: st.DrawFn, max_size: int = 6) -> list[EngineRequest]:
    return [draw(requests(f"r{index}")) for index in range(draw(st.integers(1, max_size)))]


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Keywords of `SchedulerConfig`: any combination of switches, with room for little."""
    chunked = draw(st.booleans())
    budget = draw(st.sampled_from([1, 2, 3, 5, 8, 30]) if chunked else st.sampled_from([MAX_MODEL_LEN, 40]))
    return {
        "max_num_batched_tokens": budget,
        "max_num_seqs": draw(st.sampled_from([1, 2, 3, 8])),
        "enable_chunked_prefill": chunked,
        "enable_prefix_caching": draw(st.booleans()),
        "enable_jump_forward": draw(st.booleans()),
        "batching": draw(st.sampled_from(["continuous", "static"])),
        "scheduling": draw(st.sampled_from(["mixed", "separated"])),
        "policy": draw(st.sampled_from(["fcfs", "priority"])),
    }


def backends() -> st.SearchStrategy[FakeBackend]:
    """From pools that just hold one full sequence to ample ones."""
    return st.builds(
        FakeBackend,
        st.sampled_from([6, 7, 9, 14, 40]),
        st.just(BLOCK_SIZE),
        st.just(VOCAB_SIZE),
        tokens_per_step=st.sampled_from([1, 1, 1, 2, 3]),
    )
