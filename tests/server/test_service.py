"""`Generation` over an engine that the test plays itself: any cut of the updates, ends of every kind."""

import asyncio
import itertools
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import EngineDeadError, QueueFullError, RateLimitError, RequestFailedError
from gradus.messages import EngineRequest, RequestUpdate
from gradus.sampling_params import SamplingParams
from gradus.server.generation import Generation
from gradus.server.security.keys import Client, ClientLimits
from gradus.server.service import Service
from gradus.text.input_processor import InputProcessor
from tests.text.toy_tokenizers import byte_level_json, toy_tokenizer

TOKENIZER = toy_tokenizer(byte_level_json())
TEXT = "你好，世界！👩‍👩‍👧‍👦 and 🏳️‍🌈 in the end, naïve"


class Stream:
    def __init__(self, batches, on_close):
        self._batches = iter(batches)
        self.close = on_close

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        try:
            batch = next(self._batches)
        except StopIteration:
            raise StopAsyncIteration from None
        if isinstance(batch, Exception):
            raise batch
        return batch


class PlayedEngine:
    """Gives each request the batches that the test has laid down for it."""

    def __init__(self, batches):
        self.batches = batches
        self.closed = []
        self.aborted = []

    def add_request(self, request):
        batches = self.batches[request.request_id]
        if isinstance(batches, Exception):
            raise batches
        return Stream(batches, lambda: self.closed.append(request.request_id))

    def abort(self, request_id, choice_index=None):
        self.aborted.append((request_id, choice_index))


def request(name, **params):
    options = SamplingParams(max_tokens=500, **params)
    return EngineRequest(request_id=name, prompt_token_ids=[5], params=options, max_tokens=500)


def update(name, ids, choice=0, finish=None, error=None):
    return RequestUpdate(
        request_id=name, choice_index=choice, new_token_ids=ids, finish_reason=finish, error=error
    )


def batches_of(name, ids, sizes, choice=0):
    """`ids` cut into updates of these sizes; the last one ends the choice."""
    batches = []
    while ids:
        size = sizes[len(batches) % len(sizes)]
        ids, part = ids[size:], ids[:size]
        batches.append([update(name, part, choice, None if ids else "length")])
    return batches


async def collect(generation):
    texts = {}
    async for deltas in generation.deltas():
        for delta in deltas:
            delta.text.encode()
            texts[delta.index] = texts.get(delta.index, "") + delta.text
    return [texts[i] for i in sorted(texts)]


@settings(max_examples=150)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    num_requests=st.integers(1, 3),
    stop=st.sampled_from([None, "and", "世", "‍", "the end", "zzz"]),
)
def test_streams_are_the_whole_text_however_updates_are_cut(sizes, num_requests, stop):
    ids = TOKENIZER.encode(TEXT)
    names = [f"r{i}" for i in range(num_requests)]
    engine = PlayedEngine({name: batches_of(name, ids, sizes) for name in names})

    async def run():
        generation = Generation(engine, TOKENIZER, [request(name, stop=stop) for name in names])
        return generation, await collect(generation)

    generation, texts = asyncio.run(run())
    expected = TEXT[: TEXT.index(stop)] if stop and stop in TEXT else TEXT
    assert texts == [expected] * num_requests
    assert [state.output().outputs[0].text for state in generation.states] == texts
    assert set(engine.closed) == set(names)


def test_choices_are_numbered_across_requests_and_a_stop_string_aborts_its_own():
    ids = TOKENIZER.encode("one two three")
    both = {name: [[update(name, ids, 0)], [update(name, ids[:1], 1, "length")]] for name in ("a", "b")}
    engine = PlayedEngine(both)

    async def run():
        generation = Generation(engine, TOKENIZER, [request(name, n=2, stop="two") for name in "ab"])
        return await collect(generation)

    first = TOKENIZER.decode(ids[:1])
    assert asyncio.run(run()) == ["one ", first, "one ", first]
    assert sorted(engine.aborted) == [("a", 0), ("b", 0)]


@pytest.mark.parametrize("num_requests", [1, 3])
@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ([update("r0", [], finish="error", error="out of luck")], RequestFailedError),
        ([update("r0", [], finish="abort")], EngineDeadError),
        (EngineDeadError("gone"), EngineDeadError),
        (None, EngineDeadError),
    ],
)
def test_whatever_ends_one_request_ends_all_that_belong_to_it(num_requests, ending, error):
    names = [f"r{i}" for i in range(num_requests)]
    batches = {name: [[update(name, [5])]] * 50 for name in names}
    batches["r0"] = [[update("r0", [5])]] + ([ending] if ending is not None else [])
    engine = PlayedEngine(batches)

    async def run():
        await collect(Generation(engine, TOKENIZER, [request(name) for name in names]))

    with pytest.raises(error):
        asyncio.run(run())
    assert set(engine.closed) == set(names)


def test_of_requests_that_belong_together_all_are_started_or_none():
    engine = PlayedEngine({"a": [], "b": QueueFullError("full", 1.0)})
    with pytest.raises(QueueFullError):
        Generation(engine, TOKENIZER, [request("a"), request("b")])
    assert engine.closed == ["a"]


@pytest.mark.parametrize("num_requests", [1, 3])
def test_leaving_early_closes_everything(num_requests):
    names = [f"r{i}" for i in range(num_requests)]
    engine = PlayedEngine({name: itertools.repeat([update(name, [5])]) for name in names})

    async def run():
        task = asyncio.create_task(collect(Generation(engine, TOKENIZER, [request(name) for name in names])))
        await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    assert set(engine.closed) == set(names)


def test_a_client_pays_for_what_was_started_and_only_for_that():
    """One request of three tokens, prompt and output, is paid; one that the queue refuses is not."""
    inputs = InputProcessor(TOKENIZER, eos_token_ids=frozenset(), max_model_len=64, vocab_size=430)
    full = QueueFullError("full", 1.0)
    engine = PlayedEngine({"full": full, "a": [[update("a", [5, 6], finish="length")]], "b": []})
    service = Service(engine, inputs, "m")
    limits = ClientLimits(requests_per_minute=2, tokens_per_minute=3, max_concurrent_requests=1)
    alice = Client(name="alice", limits=limits)

    async def run():
        for _ in range(3):
            with pytest.raises(QueueFullError):
                service.generate([request("full")], alice)
        await collect(service.generate([request("a")], alice))
        with pytest.raises(RateLimitError) as refused:
            service.generate([request("b")], alice)
        assert refused.value.reason == "tokens_limit"

    asyncio.run(run())


def test_long_text_work_leaves_the_event_loop():
    inputs = InputProcessor(TOKENIZER, eos_token_ids=frozenset(), max_model_len=64, vocab_size=430)
    service = Service(PlayedEngine({}), inputs, "m")

    async def run():
        here = await service.compute(10, threading.current_thread)
        there = await service.compute(10**6, threading.current_thread)
        return here, there

    here, there = asyncio.run(run())
    assert here is threading.main_thread()
    assert there is not here


def test_huge_texts_take_turns_even_those_that_nobody_waits_for():
    inputs = InputProcessor(TOKENIZER, eos_token_ids=frozenset(), max_model_len=64, vocab_size=430)
    service = Service(PlayedEngine({}), inputs, "m")
    may_end, running, together = threading.Event(), [], []

    def work():
        running.append(None)
        together.append(len(running))
        may_end.wait(30)
        running.pop()

    async def run():
        tasks = [asyncio.create_task(service.compute(2**20, work)) for _ in range(3)]
        while not running:
            await asyncio.sleep(0.001)
        tasks[0].cancel()
        others = await service.compute(2**20 - 1, lambda: "not held up")
        await asyncio.sleep(0.05)
        may_end.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        return others

    assert asyncio.run(run()) == "not held up"
    assert together == [1, 1, 1]
