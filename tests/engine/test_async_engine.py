"""The engine in its thread, driven from asyncio; a gate in the backend holds steps where a test needs it."""

import asyncio
import gc
import threading
import time

import pytest

from gradus.engine.async_engine import AsyncEngine
from gradus.engine.rate_meter import RateMeter
from gradus.errors import ContextOverflowError, EngineDeadError, InvalidRequestError, QueueFullError
from gradus.messages import EngineRequest, RequestUpdate
from tests.engine.fake_backend import FakeBackend
from tests.engine.harness import VOCAB_SIZE, Recorder, check_idle, make_core, make_request

LONG = 20  # tokens of a request that is still running when a test acts


class GatedBackend(FakeBackend):
    """Each step waits for a permit; open by default."""

    def __init__(self, num_permits: int | None = None) -> None:
        super().__init__(64, 4, VOCAB_SIZE, record=True)
        self.is_open = num_permits is None
        self.permits = threading.Semaphore(num_permits or 0)
        self.entered = threading.Event()

    def execute(self, batch):
        self.entered.set()
        if not self.is_open:
            self.permits.acquire()
        return super().execute(batch)

    def open(self) -> None:
        self.is_open = True
        self.permits.release(1000)

    def shut(self) -> None:
        self.is_open = False


def make_engine(backend: FakeBackend | None = None, max_queued_requests: int = 1024, **config) -> AsyncEngine:
    return AsyncEngine(
        make_core(backend=backend or GatedBackend(), **config), max_queued_requests=max_queued_requests
    )


def run_async(coroutine) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 60))


async def collect(engine: AsyncEngine, request: EngineRequest) -> Recorder:
    recorder = Recorder()
    async with engine.add_request(request) as stream:
        async for updates in stream:
            recorder.take(updates)
    return recorder


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_thirty_two_streams_at_once_each_get_their_own_tokens():
    async def scenario() -> None:
        engine = make_engine(max_num_batched_tokens=16)
        workload = [
            make_request(f"r{i}", [1, 2, 3, 4, i % 9], max_tokens=8, n=1 + i % 3, temperature=1.0, seed=i)
            for i in range(32)
        ]
        for request, recorder in zip(
            workload, await asyncio.gather(*(collect(engine, request) for request in workload)), strict=True
        ):
            recorder.check(request)
        assert engine.stats().num_running == 0
        assert engine.is_healthy()
        await engine.shutdown()
        check_idle(engine._core)

    run_async(scenario())


def test_updates_cross_back_in_one_call_per_step():
    async def scenario() -> None:
        backend = GatedBackend(0)
        engine = make_engine(backend)
        loop = asyncio.get_running_loop()
        calls = []
        original = loop.call_soon_threadsafe

        def counting(callback, *args, **kwargs):
            if threading.current_thread() is not threading.main_thread():
                calls.append(callback)
            return original(callback, *args, **kwargs)

        loop.call_soon_threadsafe = counting
        tasks = [
            asyncio.create_task(collect(engine, make_request(f"r{i}", max_tokens=6, n=2))) for i in range(8)
        ]
        await asyncio.sleep(0.05)
        backend.open()
        await asyncio.gather(*tasks)
        assert 0 < len(calls) <= backend.num_steps
        assert backend.num_steps < 20
        loop.call_soon_threadsafe = original
        await engine.shutdown()

    run_async(scenario())


def test_a_cancelled_consumer_aborts_its_request_within_one_step():
    async def scenario() -> None:
        backend = GatedBackend(1)
        engine = make_engine(backend)
        stream = engine.add_request(make_request("gone", max_tokens=LONG))
        await anext(stream)
        other = asyncio.create_task(collect(engine, make_request("stays", [5, 6], max_tokens=LONG)))
        waiting = asyncio.create_task(anext(stream))
        await until(lambda: backend.entered.is_set())
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        num_steps = backend.num_steps  # the one in the gate has both requests, or the one; none after it does
        backend.open()
        (await other).check(make_request("stays", [5, 6], max_tokens=LONG))
        for batch in backend.batches[num_steps + 1 :]:
            assert batch.num_seqs == 1
        assert engine.stats().num_finished["abort"] == 1
        assert [updates async for updates in stream] == []
        await engine.shutdown()

    run_async(scenario())


@pytest.mark.parametrize("way", ["close", "async with", "drop"])
def test_a_stream_that_is_left_aborts_its_request(way):
    async def scenario() -> None:
        backend = GatedBackend(2)
        engine = make_engine(backend)
        stream = engine.add_request(make_request(max_tokens=LONG))
        await anext(stream)
        if way == "close":
            stream.close()
            stream.close()
        elif way == "async with":
            async with stream:
                pass
        del stream
        gc.collect()
        backend.open()
        await until(lambda: engine.stats().num_finished["abort"] == 1)
        assert backend.num_steps < 10
        await engine.shutdown()
        check_idle(engine._core)

    run_async(scenario())


def test_one_choice_is_aborted_and_the_stream_goes_on():
    async def scenario() -> None:
        backend = GatedBackend(2)
        engine = make_engine(backend)
        recorder = Recorder()
        request = make_request(n=2, max_tokens=LONG)
        stream = engine.add_request(request)
        recorder.take(await anext(stream))
        engine.abort("r", 1)
        engine.abort("unknown")
        backend.open()
        async for updates in stream:
            recorder.take(updates)
        assert recorder.last["r", 0].finish_reason == "length"
        assert recorder.last["r", 1].finish_reason == "abort"
        recorder.check(request)
        await engine.shutdown()

    run_async(scenario())


def test_a_consumer_that_lags_loses_nothing_and_gets_it_merged():
    async def scenario() -> None:
        engine = make_engine()
        request = make_request(n=2, max_tokens=LONG, logprobs=1, prompt_logprobs=0)
        stream = engine.add_request(request)
        await until(lambda: stream.is_finished)
        fetched: list[list[RequestUpdate]] = [updates async for updates in stream]
        assert len(fetched) == 1
        assert [update.choice_index for update in fetched[0]] == [0, 1]
        assert [len(update.logprobs) for update in fetched[0]] == [LONG, LONG]
        recorder = Recorder()
        recorder.take(fetched[0])
        recorder.check(request)
        await engine.shutdown()

    run_async(scenario())


def test_admission_errors_reach_the_caller():
    async def scenario() -> None:
        engine = make_engine(GatedBackend(0), max_queued_requests=3, max_num_seqs=1)
        with pytest.raises(ContextOverflowError):
            engine.add_request(make_request(max_tokens=500))
        with pytest.raises(InvalidRequestError, match="empty"):
            engine.add_request(make_request(prompt=[]))
        streams = [engine.add_request(make_request("r0"))]
        await until(lambda: engine.stats().num_running == 1)
        with pytest.raises(InvalidRequestError, match="'r0' is in flight"):
            engine.add_request(make_request("r0"))
        streams += [engine.add_request(make_request(f"r{i}")) for i in (1, 2, 3)]
        with pytest.raises(QueueFullError, match="the queue has 3 requests and may have at most 3"):
            engine.add_request(make_request("r4"))
        engine._core.backend.open()
        for stream in streams:
            assert [update async for update in stream][-1][-1].finish_reason == "length"
        assert [update async for update in engine.add_request(make_request("r0"))]
        await engine.shutdown()

    run_async(scenario())


def test_a_queue_is_full_of_tokens_too_and_lets_one_long_prompt_in():
    async def scenario() -> None:
        core = make_core(backend=GatedBackend(0), max_num_seqs=1)
        engine = AsyncEngine(core, max_queued_tokens=10)
        streams = [engine.add_request(make_request("running", prompt=[1] * 12))]
        await until(lambda: engine.stats().num_running == 1)
        streams.append(engine.add_request(make_request("long", prompt=[2] * 11)))
        with pytest.raises(QueueFullError, match="of 11 tokens, it may have at most 10, and this one has 1"):
            engine.add_request(make_request("short", prompt=[3]))
        engine.abort("long")
        core.backend.open()
        for stream in streams:
            assert [update async for update in stream]
        assert core.num_waiting_tokens == 0
        streams = [engine.add_request(make_request(f"r{i}", prompt=[i] * 2)) for i in (1, 2, 3)]
        for stream in streams:
            assert [update async for update in stream][-1][-1].finish_reason == "length"
        await engine.shutdown()

    run_async(scenario())


def test_a_full_queue_says_when_by_the_rate_and_the_backlog():
    """Half a token a second was measured; 3 + 3 tokens wait, and requests wrote 4 tokens each before."""

    async def scenario() -> None:
        core = make_core(backend=GatedBackend(), max_num_seqs=1)
        engine = AsyncEngine(core, max_queued_requests=2)
        first = engine.add_request(make_request("before", max_tokens=4))
        assert [update async for update in first]
        core.backend.shut()
        streams = [engine.add_request(make_request("running"))]
        await until(lambda: engine.stats().num_running == 1)
        streams += [engine.add_request(make_request(f"r{i}")) for i in (1, 2)]
        engine._rate = RateMeter()
        engine._rate.add(1, 2.0)
        with pytest.raises(QueueFullError) as refused:
            engine.add_request(make_request("late"))
        assert refused.value.retry_after == pytest.approx((3 + 3 + 2 * 4) / 0.5)
        core.backend.open()
        for stream in streams:
            assert [update async for update in stream]
        await engine.shutdown()

    run_async(scenario())


def test_a_dead_engine_ends_its_streams_and_refuses_more():
    async def scenario() -> None:
        backend = GatedBackend()
        backend.fail_when = lambda step: True
        engine = make_engine(backend, max_num_seqs=1)
        recorders = await asyncio.gather(*(collect(engine, make_request(f"r{i}")) for i in range(5)))
        assert all(last.error for recorder in recorders for last in recorder.last.values())
        assert engine.is_dead
        assert not engine.is_healthy()
        with pytest.raises(EngineDeadError, match="made to fail"):
            engine.add_request(make_request())
        await engine.shutdown()

    run_async(scenario())


def test_a_defect_in_the_engine_itself_ends_the_streams_with_its_reason():
    async def scenario() -> None:
        engine = make_engine()
        engine._core.step = lambda: 1 // 0
        recorder = await collect(engine, make_request(n=2))
        assert "ZeroDivisionError" in recorder.last["r", 1].error
        with pytest.raises(EngineDeadError, match="ZeroDivisionError"):
            engine.add_request(make_request())
        await engine.shutdown()

    run_async(scenario())


def test_an_engine_that_does_not_complete_steps_is_unhealthy_until_it_does():
    async def scenario() -> None:
        backend = GatedBackend(0)
        engine = make_engine(backend)
        await asyncio.sleep(0.05)
        assert engine.is_healthy(0.04)  # idle is healthy, however long
        task = asyncio.create_task(collect(engine, make_request()))
        await until(backend.entered.is_set)
        assert engine.is_healthy(10)
        await asyncio.sleep(0.05)
        assert not engine.is_healthy(0.04)
        backend.open()
        await task
        assert engine.is_healthy(0.04)
        await engine.shutdown()

    run_async(scenario())


def test_shutdown_aborts_what_is_in_flight():
    async def scenario() -> None:
        backend = GatedBackend(2)
        engine = make_engine(backend, max_num_seqs=1)
        tasks = [
            asyncio.create_task(collect(engine, make_request(f"r{i}", max_tokens=LONG))) for i in range(3)
        ]
        await until(lambda: backend.num_steps == 2)
        ending = asyncio.create_task(engine.shutdown())
        await asyncio.sleep(0.02)
        with pytest.raises(EngineDeadError, match="shutting down"):
            engine.add_request(make_request())
        backend.open()
        await ending
        for recorder in await asyncio.gather(*tasks):
            assert [last.finish_reason for last in recorder.last.values()] == ["abort"]
        assert not engine._thread.is_alive()
        check_idle(engine._core)
        await engine.shutdown()

    run_async(scenario())


def test_shutdown_lets_requests_drain():
    async def scenario() -> None:
        engine = make_engine()
        tasks = [
            asyncio.create_task(collect(engine, make_request(f"r{i}", max_tokens=LONG))) for i in range(3)
        ]
        await asyncio.sleep(0)
        began = time.monotonic()
        await engine.shutdown(drain_timeout=30)
        assert time.monotonic() - began < 10
        for recorder in await asyncio.gather(*tasks):
            assert [last.finish_reason for last in recorder.last.values()] == ["length"]

    run_async(scenario())


def test_shutdown_of_a_hanging_backend_still_ends_the_streams():
    async def scenario() -> None:
        backend = GatedBackend(0)
        engine = make_engine(backend)
        task = asyncio.create_task(collect(engine, make_request(n=2)))
        await until(backend.entered.is_set)
        await engine.shutdown(grace=0.05)
        recorder = await task
        assert [last.finish_reason for last in recorder.last.values()] == ["abort", "abort"]
        backend.open()
        engine._thread.join(10)

    run_async(scenario())


def test_an_engine_that_was_never_used_shuts_down():
    run_async(make_engine().shutdown())


def test_a_closed_event_loop_costs_its_requests_only():
    backend = GatedBackend(1)
    engine = make_engine(backend)

    async def leave() -> None:
        streams.append(engine.add_request(make_request("left behind", max_tokens=LONG)))

    async def stay() -> None:
        task = asyncio.create_task(collect(engine, make_request("stays")))
        await asyncio.sleep(0.02)
        backend.open()
        (await task).check(make_request("stays"))
        await until(lambda: engine.stats().num_running == 0)
        assert engine.stats().num_finished["abort"] == 1
        await engine.shutdown()

    streams: list = []
    asyncio.run(leave())
    run_async(stay())
