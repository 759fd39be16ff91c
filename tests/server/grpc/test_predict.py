"""StreamPredict: text, numbering, several requests on a call, times, cancellation, slow readers."""

import asyncio
import random
import time
from contextlib import suppress

import grpc
import pytest

from gradus.server.grpc.predict import InFlight, PredictCall
from gradus.server.grpc.proto import StreamPredictRequest
from tests.server.grpc.harness import Conversation, GrpcClient, texts_of
from tests.server.harness import MODEL, say, serving, toy_service


def only(texts):
    (text,) = texts.values()
    return text


def test_an_answer_is_the_whole_text_and_its_last_message_counts(server, client, answer):
    responses = client.predict(client.request(trace_id="a", model_id=MODEL))
    assert texts_of(responses) == {"a": answer}
    last = responses[-1]
    assert last.usage.completion_tokens == len(server.tokenizer.encode(answer)) + 1
    assert last.finish_reason == "stop"
    assert not last.HasField("stop_reason")
    assert not last.HasField("error")
    assert last.usage.prompt_tokens == len(server.tokenizer.encode("Hi"))
    for earlier in responses[:-1]:
        assert not earlier.HasField("usage")
        assert not earlier.HasField("finish_reason")


def test_what_ended_the_text_is_said(client, answer):
    last = client.predict(client.request(max_new_tokens=5))[-1]
    assert (last.finish_reason, last.usage.completion_tokens) == ("length", 5)
    responses = client.predict(client.request(stop=["42"]))
    assert only(texts_of(responses)) == answer[: answer.index("42")]
    assert (responses[-1].finish_reason, responses[-1].stop_reason) == ("stop", "42")


@pytest.mark.parametrize(
    "text", ["你好，世界！大语言模型在处理器上运行。", "👩‍👩‍👧‍👦🏳️‍🌈👍🏽" * 3, "  spaces  \n\n and\ttabs "]
)
def test_text_of_any_script_however_it_is_cut(text, connect):
    generator = random.Random(3)
    scripted = say(text)

    def at_random_times(tokenizer, context, choice):
        time.sleep(generator.random() * 0.002)
        return scripted(tokenizer, context, choice)

    with serving(at_random_times, grpc_port=0, grpc_flush_interval_ms=1.0) as server:
        client = connect(server)
        for size in (1, 2, 3, 4096):
            responses = client.predict(client.request(fields={"stream_chunk_size": size}))
            assert only(texts_of(responses)) == text


def test_a_request_without_a_trace_id_gets_one(client):
    first, second = (client.predict(client.request())[-1].trace_id for _ in range(2))
    assert first
    assert second
    assert first != second


def test_requests_of_one_call_are_answered_at_the_same_time(endless, connect):
    client = connect(endless)
    requests = [client.request(trace_id=f"r{i}", max_new_tokens=40 + i) for i in range(8)]
    responses = client.predict(*requests)
    assert set(texts_of(responses)) == {f"r{i}" for i in range(8)}
    ends = [i for i, response in enumerate(responses) if response.end_of_stream]
    begun = {response.trace_id for response in responses[: ends[0]]}
    assert len(begun) == 8  # all had begun before the first ended
    counts = {r.trace_id: r.usage.completion_tokens for r in responses if r.end_of_stream}
    assert counts == {f"r{i}": 40 + i for i in range(8)}


def test_a_call_can_go_on_after_an_answer(client, answer):
    with Conversation(client) as call:
        for name in ("one", "two"):
            call.send(client.request(trace_id=name))
            responses = []
            while not (responses and responses[-1].end_of_stream):
                responses.append(next(call.responses))
            assert texts_of(responses) == {name: answer}
        call.half_close()
        assert list(call.responses) == []
        assert call.responses.code() == grpc.StatusCode.OK


def test_a_call_without_requests_is_no_error(client):
    assert client.predict() == []


def test_times_are_those_of_this_request(endless, connect):
    """The server's figures against a clock on the client's side, which includes the way there and back."""
    client = connect(endless)
    sent = time.monotonic()
    arrivals, responses = [], []
    for response in client.stub.StreamPredict(iter([client.request(max_new_tokens=200)])):
        responses.append(response)
        arrivals.append(time.monotonic())
    first = responses[0]
    assert 0 < first.ttft_ms <= (arrivals[0] - sent) * 1000
    assert {response.ttft_ms for response in responses} == {first.ttft_ms}
    assert first.tokens_per_sec == 0
    assert all(response.tokens_per_sec > 0 for response in responses[1:])
    # A step takes 5 ms at least, so no more than 200 tokens come in a second.
    assert responses[-1].tokens_per_sec <= 201
    assert responses[-1].tokens_per_sec * (arrivals[-1] - sent) > 100


def test_the_time_to_the_first_token_includes_the_wait_for_it(connect):
    with serving(say("Hello"), grpc_port=0) as server:
        server.backend.gate.clear()
        client = connect(server)
        responses = client.stub.StreamPredict(iter([client.request()]))
        time.sleep(0.3)
        server.backend.gate.set()
        assert next(responses).ttft_ms >= 200


@pytest.mark.parametrize("num_requests", [1, 5])
def test_cancelling_a_call_aborts_its_requests(endless, connect, num_requests):
    client = connect(endless)
    requests = [client.request(trace_id=f"{i}") for i in range(num_requests)]
    responses = client.stub.StreamPredict(iter(requests))
    next(responses)
    assert endless.engine.stats().num_running >= 1
    responses.cancel()
    endless.wait_until_idle()
    stats = endless.engine.stats()
    assert stats.num_used_blocks == 0
    assert stats.num_finished["abort"] >= num_requests
    endless.engine._core.check_integrity()
    assert client.predict(client.request(max_new_tokens=3))[-1].finish_reason == "length"


def test_cancelling_before_the_first_token(endless, connect):
    client = connect(endless)
    endless.backend.gate.clear()
    try:
        responses = client.stub.StreamPredict(iter([client.request()]))
        time.sleep(0.1)
        responses.cancel()
        time.sleep(0.1)
    finally:
        endless.backend.gate.set()
    endless.wait_until_idle()
    assert endless.engine.stats().num_used_blocks == 0


def test_a_deadline_ends_the_call_and_its_requests(endless, connect, caplog):
    client = connect(endless)
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(client.request(), timeout=0.3)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    endless.wait_until_idle()
    assert endless.engine.stats().num_used_blocks == 0
    assert not caplog.records


def test_a_client_that_vanishes_leaves_nothing_behind(endless, generated):
    channel = grpc.insecure_channel(endless.server.grpc.addresses[0])
    client = GrpcClient(channel, *generated)
    next(client.stub.StreamPredict(iter([client.request()])))
    channel.close()
    endless.wait_until_idle()
    assert endless.engine.stats().num_used_blocks == 0


def test_a_slow_reader_gets_everything_and_holds_nobody_up(server, client, answer):
    slow = client.stub.StreamPredict(iter([client.request(fields={"stream_chunk_size": 1})]))
    first = next(slow)
    assert only(texts_of(client.predict(client.request()))) == answer
    time.sleep(0.3)
    assert only(texts_of([first, *slow])) == answer


def test_a_client_that_does_not_read_holds_up_no_more_than_its_tokens():
    """Behind a write that is stuck, everything becomes one message, however many tokens there are."""
    written = []

    class Context:
        def peer(self):
            return "ipv4:127.0.0.1:1"

        async def write(self, message):
            written.append(message)
            if len(written) == 1:
                await is_read.wait()

    async def requests():
        yield StreamPredictRequest(prompt="Hi", generation={"max_new_tokens": 300})

    async def call():
        service.engine.start()
        task = asyncio.create_task(
            PredictCall(service, InFlight(), service.keys.anonymous, requests(), Context()).run()
        )
        while service.engine.stats().num_generated_tokens < 300:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        is_read.set()
        await task
        await service.engine.shutdown()

    is_read = asyncio.Event()
    service = toy_service(lambda tokenizer, context, choice: 45)
    asyncio.run(call())
    assert len(written) == 2
    assert written[-1].usage.completion_tokens == 300
    assert set(texts_of(written).values()) == {service.tokenizer.decode([45] * 300)}


def test_requests_are_read_only_as_others_are_answered(monkeypatch):
    """A client that sends without end and reads nothing is held up rather than collected."""
    monkeypatch.setattr("gradus.server.grpc.predict.MAX_UNANSWERED", 5)
    num_read = 0

    class Context:
        def peer(self):
            return "ipv4:127.0.0.1:1"

        async def write(self, message):
            await asyncio.Event().wait()

    async def requests():
        nonlocal num_read
        while True:
            num_read += 1
            yield StreamPredictRequest(prompt="Hi", generation={"max_new_tokens": 1})

    async def call():
        task = asyncio.create_task(
            PredictCall(service, InFlight(), service.keys.anonymous, requests(), Context()).run()
        )
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await service.engine.shutdown()

    service = toy_service(lambda tokenizer, context, choice: 45)
    asyncio.run(call())
    assert num_read <= 6


def test_clients_that_leave_at_random_leave_nothing_behind(endless, generated, caplog):
    generator = random.Random(5)

    async def one(client):
        requests = [
            client.request(trace_id=f"{i}", max_new_tokens=generator.randint(1, 40), model_id=name)
            for i, name in enumerate(generator.choices(["", "", "", "other"], k=generator.choice([1, 1, 3])))
        ]
        call = client.stub.StreamPredict(timeout=generator.choice([0.02, 0.1, 0.3, 1]))
        with suppress(
            grpc.RpcError, grpc.aio.InternalError, asyncio.CancelledError, asyncio.InvalidStateError
        ):
            for request in requests:
                await call.write(request)
            if generator.random() < 0.7:
                await call.done_writing()
            async for response in call:
                if generator.random() < 0.2 or response.error.code:
                    break
        call.cancel()

    async def all_of_them():
        async with grpc.aio.insecure_channel(endless.server.grpc.addresses[0]) as channel:
            client = GrpcClient(channel, *generated)
            await asyncio.gather(*(one(client) for _ in range(100)))

    asyncio.run(all_of_them())
    endless.wait_until_idle()
    assert endless.engine.stats().num_used_blocks == 0
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
    endless.engine._core.check_integrity()
