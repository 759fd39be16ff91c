"""The streaming client against a server that sends what the test says, when the test says."""

import asyncio

import pytest

from gradus.bench.clients.completions import (
    CHAT,
    COMPLETIONS,
    CompletionsClient,
    open_http,
    stopwatch,
)
from tests.bench.clients.scripted_stream import DONE, ScriptedServer, delta, event, text, usage


def ask(server, endpoint=COMPLETIONS, prompt=(1, 2, 3), **fields):
    async def run():
        async with server.http() as http:
            prompts = prompt if isinstance(prompt, str) else list(prompt)
            return await CompletionsClient(http, endpoint, fields).ask(prompts, 5, server.clock)

    return asyncio.run(run())


def test_times_are_of_pieces_of_text_and_counts_of_the_usage():
    server = ScriptedServer(
        [(0.25, text("a")), (0.5, text("bcd")), (2.0, text("", "length") + usage(3, 5)), (2.5, DONE)]
    )
    answered = ask(server)
    assert answered.error is None
    assert (answered.text, answered.finish_reason) == ("abcd", "length")
    assert answered.arrivals == [0.25, 0.5]
    assert answered.timing.itls == [0.25]
    timing = answered.timing
    assert (timing.ttft, timing.e2e, timing.tpot) == (0.25, 2.5, 2.25 / 4)
    assert (timing.num_prompt_tokens, timing.num_output_tokens) == (3, 5)


@pytest.mark.parametrize("delay", [0.0, 0.01, 7.0])
def test_a_delay_before_the_first_piece_is_in_ttft_and_in_no_other_figure(delay):
    pieces = [(1.0, text("a")), (1.5, text("b")), (2.0, text("c", "length") + usage(3, 3) + DONE)]
    answered = ask(ScriptedServer([(at + delay, piece) for at, piece in pieces]))
    assert answered.timing.ttft == 1.0 + delay
    assert answered.timing.tpot == pytest.approx(0.5)
    assert answered.timing.itls == pytest.approx([0.5, 0.5])


def test_events_may_be_cut_anywhere_and_lines_may_end_as_windows_ends_them():
    whole = b": a comment\r\n\r\n" + text("ä").replace(b"\n", b"\r\n") + text("b") + usage(1, 2) + DONE
    answered = ask(ScriptedServer([(float(i), whole[i : i + 1]) for i in range(len(whole))]))
    assert answered.error is None
    assert answered.text == "äb"
    assert len(answered.arrivals) == 2


def test_a_chats_role_is_no_token_and_its_thoughts_are():
    server = ScriptedServer(
        [
            (1.0, delta(role="assistant", content="")),
            (2.0, delta(reasoning_content="hm")),
            (3.0, delta(content="yes")),
            (4.0, delta("stop") + usage(9, 2) + DONE),
        ]
    )
    answered = ask(server, CHAT, "a question", model="m")
    assert answered.arrivals == [2.0, 3.0]
    assert answered.text == "hmyes"
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "a question"}]
    assert "prompt" not in server.bodies[0]


def counted(value, completion, **fields):
    counts = {"prompt_tokens": 3, "completion_tokens": completion}
    return event({"choices": [{"text": value, "finish_reason": None, **fields}], "usage": counts})


def test_where_chunks_are_counted_tokens_without_text_have_their_time():
    pieces = [(1.0, counted("", 1)), (2.0, counted("ab", 3)), (3.0, counted("c", 3)), (4.0, counted("", 4))]
    answered = ask(ScriptedServer([*pieces, (5.0, usage(3, 4) + DONE)]))
    assert answered.arrivals == [1.0, 2.0, 4.0]
    assert answered.text == "abc"
    assert (answered.timing.ttft, answered.num_output_tokens) == (1.0, 4)


@pytest.mark.parametrize("value", ["", "c"])
def test_a_count_that_comes_with_the_end_alone_is_no_token(value):
    """llama.cpp's completions count in the last chunk, which usually has no text."""
    pieces = [(1.0, text("a")), (2.0, text("b")), (3.0, counted(value, 3, finish_reason="length") + DONE)]
    assert ask(ScriptedServer(pieces)).arrivals == ([1.0, 2.0, 3.0] if value else [1.0, 2.0])


def test_tokens_without_text_arrive_with_the_end():
    answered = ask(ScriptedServer([(1.0, text("")), (2.0, text("", "length")), (3.0, usage(1, 5) + DONE)]))
    assert answered.arrivals == [2.0]


def test_the_body_has_token_ids_the_length_and_the_fields():
    server = ScriptedServer([(0.0, usage(3, 5) + DONE)])
    ask(server, model="m", temperature=0.0, ignore_eos=True)
    assert server.bodies == [
        {
            "prompt": [1, 2, 3],
            "max_tokens": 5,
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
            "model": "m",
            "temperature": 0.0,
            "ignore_eos": True,
        }
    ]


@pytest.mark.parametrize(
    ("pieces", "status", "said"),
    [
        ([(0.0, b"not thirteen")], 400, "status 400: not thirteen"),
        ([(0.0, text("a") + usage(3, 5))], 200, "broke off"),
        ([(0.0, text("a") + DONE)], 200, "without usage"),
        ([(0.0, text("a") + b'data: {"error": {"message": "dead"}}\n\n')], 200, "dead"),
        ([(0.0, b"data: {half\n\n" + DONE)], 200, "JSONDecodeError"),
    ],
)
def test_what_is_no_answer_is_a_failure_with_its_reason(pieces, status, said):
    answered = ask(ScriptedServer(pieces, status))
    assert said in answered.error
    assert answered.timing is None


def test_nobody_there_is_a_failure():
    async def run():
        async with open_http("http://127.0.0.1:9") as http:
            return await CompletionsClient(http, COMPLETIONS, {}).ask([1], 1, stopwatch())

    assert "ConnectError" in asyncio.run(run()).error


@pytest.mark.parametrize("endpoint", [COMPLETIONS, CHAT])
def test_our_own_server_is_understood(own_server, endpoint):
    async def run():
        async with open_http(own_server.url) as http:
            client = CompletionsClient(http, endpoint, {"temperature": 0, "ignore_eos": True})
            return await client.ask("What is 17 plus 25?", 12, stopwatch())

    answered = asyncio.run(run())
    assert answered.error is None
    assert answered.num_output_tokens == 12
    assert answered.num_prompt_tokens > 0
    assert answered.finish_reason == "length"
    assert 0 < len(answered.arrivals) <= 12
    assert 0 < answered.start < answered.arrivals[0] <= answered.arrivals[-1] <= answered.end


def test_a_server_may_close_connections_without_having_said_so():
    """llama.cpp's does after a stream; a request on such a connection would be lost."""
    num_connections = 0

    async def answer(reader, writer):
        nonlocal num_connections
        num_connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: timeout=5\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)  # the next request is sent before the end is known
        writer.close()

    async def run():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, open_http(f"http://127.0.0.1:{port}") as http:
            return [(await http.get("/")).status_code for _ in range(3)]

    assert asyncio.run(run()) == [200] * 3
    assert num_connections == 3
