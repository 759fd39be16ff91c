"""Streams: the same text however it is cut, many at once, clients that leave, errors in the middle."""

import asyncio
import json
import random
import socket
import time

import httpx
import openai
import pytest

from tests.server.harness import MODEL, VOCAB_SIZE, say, serving

MESSAGES = [{"role": "user", "content": "Hi"}]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def events_of(lines):
    """The JSON of each event; the end mark as it is."""
    for line in lines:
        if line:
            data = line.removeprefix("data: ")
            yield data if data == "[DONE]" else json.loads(data)


@pytest.mark.parametrize(
    "text",
    [
        "你好，世界！大语言模型在处理器上运行。",
        "👩‍👩‍👧‍👦🏳️‍🌈👍🏽" * 3,
        "naïve é — Ωμέγα привет",
        "  spaces  \n\n and\ttabs ",
    ],
)
def test_a_stream_of_any_script_is_the_whole_text(text):
    """Steps of random length cut the stream at random places, characters of several tokens included."""
    generator = random.Random(3)
    scripted = say(text)

    def at_random_times(tokenizer, context, choice):
        time.sleep(generator.random() * 0.002)
        return scripted(tokenizer, context, choice)

    with serving(at_random_times) as server:
        whole = server.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 300}).json()["choices"][0]["text"]
        assert whole == text
        for stop in (None, text[-2:], "\ufffd"):
            body = {"prompt": "Hi", "max_tokens": 300, "stream": True, "stop": stop}
            with httpx.stream("POST", server.url + COMPLETIONS, json=body) as response:
                raw = b"".join(response.iter_raw())
            events = list(events_of(raw.decode("utf-8").split("\n\n")))
            assert events.pop() == "[DONE]"
            streamed = "".join(event["choices"][0]["text"] for event in events)
            assert streamed == (text[: text.index(stop)] if stop and stop in text else text)
            assert "\ufffd" not in streamed


def test_a_text_cut_in_the_middle_of_a_character_ends_with_the_replacement(server):
    ids = server.tokenizer.encode("你好，世界! The answer is 42 👩")
    cut = next(i for i in range(len(ids)) if server.tokenizer.decode(ids[:i]).endswith("\ufffd"))
    whole = server.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": cut}).json()["choices"][0]["text"]
    assert whole == server.tokenizer.decode(ids[:cut])
    with httpx.stream(
        "POST", server.url + COMPLETIONS, json={"prompt": "Hi", "max_tokens": cut, "stream": True}
    ) as response:
        events = list(events_of(response.iter_lines()))
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == whole


def test_thirty_two_streams_at_once(server, answer):
    async def one(client, n):
        stream = await client.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, n=n, stream_options={"include_usage": True}
        )
        texts = [""] * n
        async for chunk in stream:
            if chunk.choices:
                texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
            else:
                usage = chunk.usage
        return texts, usage

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, 1 + i % 3) for i in range(32)))

    num_tokens = len(server.tokenizer.encode(answer)) + 1
    for texts, usage in asyncio.run(all_of_them()):
        assert texts == [answer[i:] for i in range(len(texts))]
        assert usage.completion_tokens >= num_tokens
    server.wait_until_idle()


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_reader_who_leaves_ends_the_request(endless, path, n):
    body = {"messages": MESSAGES} if path == CHAT else {"prompt": ["Hi", "Ho"], "max_tokens": 900}
    with httpx.stream("POST", endless.url + path, json={**body, "stream": True, "n": n}) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        assert endless.engine.stats().num_running >= 1
    assert endless.wait_until_idle() < 1.0
    assert endless.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 3}).status_code == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_waiter_who_leaves_ends_the_request(endless, path):
    body = json.dumps({"messages": MESSAGES} if path == CHAT else {"prompt": ["Hi", "Ho"], "max_tokens": 900})
    host, port = endless.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        raw.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        deadline = time.monotonic() + 5
        while endless.engine.stats().num_running == 0:
            assert time.monotonic() < deadline
            time.sleep(0.005)
    assert endless.wait_until_idle() < 1.0


def test_a_reader_who_leaves_before_the_first_token(endless):
    endless.backend.gate.clear()
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                endless.url + CHAT,
                json={"messages": MESSAGES, "stream": True},
                timeout=httpx.Timeout(5, read=0.2),
            )
    finally:
        endless.backend.gate.set()
    assert endless.wait_until_idle() < 1.0


def test_a_slow_reader_gets_everything_and_holds_nobody_up(server, answer):
    body = {"messages": MESSAGES, "stream": True}
    with httpx.stream("POST", server.url + CHAT, json=body) as slow:
        lines = slow.iter_lines()
        first = next(lines)
        assert server.post(COMPLETIONS, {"prompt": "Hi"}).status_code == 200
        time.sleep(0.3)
        events = list(events_of([first, *lines]))
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-1]) == answer


def test_an_error_before_the_first_token_has_a_status_and_one_after_it_an_event():
    with serving(lambda tokenizer, context, choice: 45, delay=0.005) as server:
        server.backend.fail = True
        for stream in (False, True):
            response = server.post(CHAT, {"messages": MESSAGES, "stream": stream})
            assert response.status_code == 500
            assert "the script says" in response.json()["error"]["message"]
            assert response.json()["error"]["code"] == "generation_failed"
        server.backend.fail = False
        with httpx.stream("POST", server.url + CHAT, json={"messages": MESSAGES, "stream": True}) as response:
            events = []
            for event in events_of(response.iter_lines()):
                events.append(event)
                server.backend.fail = True
        assert response.status_code == 200
        assert "the script says" in events[-1]["error"]["message"]
        assert events[-1]["error"]["type"] == "server_error"
        server.backend.fail = False
        stream = server.client().chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        next(stream)
        server.backend.fail = True
        with pytest.raises(openai.APIError, match="the script says"):
            list(stream)


def test_clients_that_leave_at_random_leave_nothing_behind(endless):
    generator = random.Random(5)

    async def one(client):
        body = {"stream": generator.random() < 0.7, "n": generator.choice([1, 2, 5])}
        if generator.random() < 0.5:
            path, body["messages"], body["max_tokens"] = CHAT, MESSAGES, generator.randint(1, 40)
        else:
            path, body["prompt"] = COMPLETIONS, ["Hi"] * generator.choice([1, 3])
        patience = generator.choice([0.02, 0.1, 0.3, 60])
        try:
            async with client.stream("POST", endless.url + path, json=body, timeout=patience) as response:
                async for _ in response.aiter_raw():
                    if generator.random() < 0.2:
                        return
        except httpx.TimeoutException:
            pass

    async def all_of_them():
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=100)) as client:
            await asyncio.gather(*(one(client) for _ in range(100)))

    asyncio.run(all_of_them())
    assert endless.wait_until_idle() < 1.0
    deadline = time.monotonic() + 5
    while endless.server.server_state.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not endless.server.server_state.tasks
    endless.engine._core.check_integrity()


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("n", [1, 3])
def test_counts_in_every_chunk_grow_to_those_of_the_last(endless, path, n):
    options = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "n": n}
    body = {"stream": True, "max_tokens": 60, **options}
    body |= {"messages": MESSAGES} if path == CHAT else {"prompt": "Hi"}
    events = list(events_of(endless.http.post(path, json=body).text.split("\n\n")))
    assert events.pop() == "[DONE]"
    usages = [event["usage"] for event in events]
    counts = [usage["completion_tokens"] for usage in usages]
    assert counts == sorted(counts)
    assert 1 <= counts[0] < counts[-1] == 60 * n
    assert usages[-2] == usages[-1]
    for usage in usages:
        assert usage["prompt_tokens"] == usages[-1]["prompt_tokens"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_tokens_without_text_have_a_chunk_where_chunks_are_counted(path):
    body = {"stream": True, "max_tokens": 20, "ignore_eos": True}
    body |= {"messages": MESSAGES} if path == CHAT else {"prompt": "Hi"}
    counted = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    with serving(lambda *_: VOCAB_SIZE - 1, delay=0.02) as running:  # the tokenizer does not know it
        answers = [running.http.post(path, json=body | extra).text for extra in ({}, counted)]
    events, with_counts = (list(events_of(answer.split("\n\n")))[:-1] for answer in answers)
    assert len({event["usage"]["completion_tokens"] for event in with_counts}) > 2
    assert len(events) <= 2  # a chat's role, and the end


def test_counts_in_every_chunk_need_counts_at_all(server):
    options = {"stream": True, "stream_options": {"continuous_usage_stats": True}}
    answer = server.post(CHAT, {"messages": MESSAGES, **options})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "stream_options"
