"""Tokens that travel together: thresholds, the timer, the first text, the end, slow readers, errors."""

import asyncio
import json
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradus.errors import ConfigError, InvalidRequestError
from gradus.outputs import Logprob
from gradus.server.settings import ServerSettings
from gradus.server.streaming import EVERY_TOKEN, Granularity, StreamingSettings, join_deltas
from gradus.text.output_processor import ChoiceDelta
from tests.server.harness import say, serving
from tests.server.virtual_time import run

INTERVAL = 0.05


def token(index, number, text):
    logprobs = [{number: Logprob(-0.5, 1)}]
    return ChoiceDelta(index=index, text=text, token_ids=[number], logprobs=logprobs)


@st.composite
def streams(draw):
    """Steps as (seconds since the last one, deltas): some choices get a token each, and all of them end."""
    num_choices = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 30), min_size=num_choices, max_size=num_choices))
    steps = []
    for number in range(max(lengths)):
        deltas = []
        for index, length in enumerate(lengths):
            if number < length:
                delta = token(index, number, draw(st.sampled_from(["", "a", "bc"])))
                if number == length - 1:
                    delta.finish_reason, delta.stop_reason = "stop", 7
                deltas.append(delta)
        steps.append((draw(st.sampled_from([0.0, 0.001, 0.02, 0.049, 0.2])), deltas))
    return steps


async def feed(steps, arrived):
    loop = asyncio.get_running_loop()
    for seconds, deltas in steps:
        if seconds:
            await asyncio.sleep(seconds)
        arrived += [(loop.time(), delta) for delta in deltas]
        yield deltas


def deliver(steps, granularity, read_seconds=0.0):
    """(time, delta) as they arrived, and (time, delta) as they were handed on."""
    arrived, handed_on = [], []

    async def read():
        async with aclosing(join_deltas(feed(steps, arrived), granularity)) as batches:
            async for batch in batches:
                handed_on.extend((asyncio.get_running_loop().time(), delta) for delta in batch)
                if read_seconds:
                    await asyncio.sleep(read_seconds)

    run(read())
    return arrived, handed_on


def of_choice(timed, index):
    return [(time, delta) for time, delta in timed if delta.index == index]


def tokens_of(timed):
    return [token_id for _, delta in timed for token_id in delta.token_ids]


@given(streams(), st.integers(1, 12), st.sampled_from([0.0, INTERVAL]), st.sampled_from([0.0, 0.03]))
def test_joined_deltas_are_the_same_deltas(steps, max_tokens, max_seconds, read_seconds):
    granularity = Granularity(max_tokens=max_tokens, max_seconds=max_seconds)
    arrived, handed_on = deliver(steps, granularity, read_seconds)
    for index in {delta.index for _, delta in arrived}:
        before, after = of_choice(arrived, index), of_choice(handed_on, index)
        assert "".join(d.text for _, d in after) == "".join(d.text for _, d in before)
        assert tokens_of(after) == tokens_of(before)
        assert [p for _, d in after for p in d.logprobs] == [p for _, d in before for p in d.logprobs]
        assert [d.finish_reason for _, d in after] == [None] * (len(after) - 1) + ["stop"]
        assert after[-1][1].stop_reason == 7


@given(streams(), st.integers(2, 12))
def test_nothing_waits_longer_than_the_interval_nor_without_need(steps, max_tokens):
    arrived, handed_on = deliver(steps, Granularity(max_tokens=max_tokens, max_seconds=INTERVAL))
    arrival = {(d.index, d.token_ids[0]): time for time, d in arrived}
    for time, delta in handed_on:
        waited = [time - arrival[delta.index, token_id] for token_id in delta.token_ids]
        assert max(waited) <= INTERVAL + 1e-9
        # Tokens of the same instant may overtake the reader, those of a later one never do.
        before_last = [w for w in waited if w > min(waited)]
        assert len(before_last) < max_tokens
        if delta.finish_reason is not None:
            assert min(waited) == 0
    for index in {delta.index for _, delta in arrived}:
        first_arrived = next((time for time, d in of_choice(arrived, index) if d.text), None)
        first_handed_on = next((time for time, d in of_choice(handed_on, index) if d.text), None)
        assert first_handed_on == first_arrived


@given(streams())
def test_a_batch_has_a_reason_full_overdue_first_or_last(steps):
    """With one choice: a batch that is none of these was handed on too early, and messages are wasted."""
    steps = [(seconds, [d for d in deltas if d.index == 0]) for seconds, deltas in steps]
    steps = [step for step in steps if step[1]]
    max_tokens = 5
    arrived, handed_on = deliver(steps, Granularity(max_tokens=max_tokens, max_seconds=INTERVAL))
    arrival = {d.token_ids[0]: time for time, d in arrived}
    has_text = False
    for time, delta in handed_on:
        is_first = bool(delta.text) and not has_text
        has_text |= bool(delta.text)
        is_overdue = time - arrival[delta.token_ids[0]] >= INTERVAL - 1e-9
        assert is_first or is_overdue or len(delta.token_ids) >= max_tokens or delta.finish_reason


def test_the_timer_does_not_wait_for_the_next_token():
    steps = [(0.0, [token(0, 0, "a")]), (0.01, [token(0, 1, "b")])]
    steps.append((60.0, [ChoiceDelta(index=0, finish_reason="length")]))
    _, handed_on = deliver(steps, Granularity(max_tokens=100, max_seconds=INTERVAL))
    assert [(round(time, 6), delta.text) for time, delta in handed_on] == [(0, "a"), (0.06, "b"), (60.01, "")]


def test_the_first_text_takes_no_turn_of_the_event_loop():
    """Others that are ready would go first, and there may be a hundred of them."""
    steps = [(0.0, [token(0, 0, "a")]), (0.0, [ChoiceDelta(index=0, finish_reason="length")])]

    async def read():
        others = []
        asyncio.get_running_loop().call_soon(others.append, "ran")
        async with aclosing(
            join_deltas(feed(steps, []), Granularity(max_tokens=9, max_seconds=1))
        ) as batches:
            (delta,) = await anext(batches)
            assert delta.text == "a"
            assert not others
            (delta,) = await anext(batches)
            assert delta.finish_reason == "length"

    run(read())


def test_a_slow_reader_finds_all_that_has_arrived_in_one_batch():
    steps = [(0.001, [token(0, number, "x")]) for number in range(1000)]
    steps.append((0.0, [ChoiceDelta(index=0, finish_reason="length")]))
    _, handed_on = deliver(steps, Granularity(max_tokens=2, max_seconds=INTERVAL), read_seconds=10)
    assert [len(delta.text) for _, delta in handed_on] == [1, 999]


def test_empty_deltas_after_an_end_do_not_undo_it():
    steps = [(0.0, [token(0, 0, "a"), token(1, 0, "b")])]
    steps.append((0.0, [ChoiceDelta(index=0, text="c", finish_reason="stop", stop_reason="!")]))
    steps += [(0.001, [ChoiceDelta(index=0), token(1, n, "b")]) for n in range(1, 9)]
    _, handed_on = deliver(steps, Granularity(max_tokens=4, max_seconds=INTERVAL), read_seconds=1)
    ends = [delta for _, delta in of_choice(handed_on, 0) if delta.finish_reason]
    assert [(end.finish_reason, end.stop_reason) for end in ends] == [("stop", "!")]


def test_an_error_comes_after_what_came_before_it():
    async def failing():
        yield [token(0, 0, "a")]
        yield [token(0, 1, "b")]
        raise RuntimeError("broken")

    got = []

    async def read():
        async for (delta,) in join_deltas(failing(), Granularity(max_tokens=9, max_seconds=INTERVAL)):
            got.append(delta.text)

    with pytest.raises(RuntimeError, match="broken"):
        run(read())
    assert "".join(got) == "ab"


@pytest.mark.parametrize("granularity", [EVERY_TOKEN, Granularity(max_tokens=9, max_seconds=INTERVAL)])
def test_leaving_early_closes_the_source(granularity):
    closed = []

    async def endless():
        try:
            while True:
                yield [token(0, 0, "a")]
                await asyncio.sleep(0.01)
        finally:
            closed.append(True)

    async def read():
        async with aclosing(join_deltas(endless(), granularity)) as batches:
            await anext(batches)

    run(read())
    assert closed == [True]


def test_defaults_of_events_and_of_grpc():
    settings = StreamingSettings()
    assert settings.for_events() == Granularity(max_tokens=1, max_seconds=0.05)
    assert settings.for_events(6) == Granularity(max_tokens=6, max_seconds=0.05)
    assert settings.for_grpc() == Granularity(max_tokens=32, max_seconds=0.05)
    assert settings.for_grpc(1) == Granularity(max_tokens=8, max_seconds=0.05)
    both = StreamingSettings(stream_chunk_size=3, grpc_buffer_size=1, grpc_flush_interval_ms=0)
    assert both.for_events() == both.for_grpc() == Granularity(max_tokens=3, max_seconds=0)
    assert both.for_grpc().is_immediate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("stream_chunk_size", 0),
        ("stream_chunk_size", 4097),
        ("grpc_buffer_size", 0),
        ("grpc_buffer_size", True),
        ("grpc_flush_interval_ms", -1.0),
        ("grpc_flush_interval_ms", float("nan")),
        ("grpc_flush_interval_ms", float("inf")),
    ],
)
def test_settings_are_checked(field, value):
    with pytest.raises(InvalidRequestError, match=f"{field} is {value}.* from "):
        StreamingSettings(**{field: value})
    with pytest.raises(ConfigError, match=field):
        ServerSettings(**{field: value})


@pytest.mark.parametrize("size", [0, 4097])
def test_a_request_s_own_chunk_size_is_checked(size):
    for of in (StreamingSettings().for_events, StreamingSettings().for_grpc):
        with pytest.raises(InvalidRequestError, match=f"stream_chunk_size is {size}"):
            of(size)


COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


def texts_of_events(server, path, **fields):
    body = {"messages": [{"role": "user", "content": "Hi"}]} if path == CHAT else {"prompt": "Hi"}
    response = server.post(path, {**body, "max_tokens": 200, "stream": True, **fields})
    assert response.status_code == 200, response.text
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n")]
    choices = [json.loads(line)["choices"][0] for line in data if line not in ("", "[DONE]")]
    return [
        choice["text"] if path == COMPLETIONS else choice["delta"].get("content", "") for choice in choices
    ]


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_events_hold_as_many_tokens_as_asked_for(path):
    text = "The quick brown fox jumps over the lazy dog. " * 3
    with serving(say(text), delay=0.004, grpc_flush_interval_ms=60_000.0) as server:
        num_tokens = len(server.tokenizer.encode(text)) + 1
        fine = texts_of_events(server, path)
        coarse = texts_of_events(server, path, stream_chunk_size=16)
    assert "".join(fine) == "".join(coarse) == text
    assert len(coarse) <= num_tokens / 16 + 4  # a role, the first text, the end
    assert len(fine) > 2 * len(coarse)


def test_chunk_sizes_that_are_refused(server):
    for fields, named in [
        ({"stream": True, "stream_chunk_size": 0}, "from 1 to 4,096"),
        ({"stream": True, "stream_chunk_size": "2"}, "an integer"),
        ({"stream_chunk_size": 2}, "needs stream to be true"),
    ]:
        response = server.post(COMPLETIONS, {"prompt": "Hi", **fields})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "stream_chunk_size"
        assert named in response.json()["error"]["message"]
