"""Many connections: what is counted of each stream, and our own server under some."""

import asyncio
from dataclasses import replace

from gradus.bench.clients.completions import open_http
from gradus.bench.clients.grpc_streams import MessageStream
from gradus.bench.grpc.crowd import Crowd, ask_whole, stream_all
from gradus.server.grpc.proto import StreamPredictResponse


def stream(*messages, error=None):
    found = [StreamPredictResponse(index=i, chunk=text, end_of_stream=end) for i, text, end in messages]
    return MessageStream(1.0, found, error)


def test_each_way_to_go_wrong_has_its_own_count():
    crowd = Crowd(num_connections=9)
    crowd.add(stream((0, "ab", False), (1, "c", True)), "abc")
    assert (crowd.num_streams, crowd.num_messages) == (1, 2)
    wrong = {
        "num_without_every_index": stream((0, "ab", False), (2, "c", True)),
        "num_without_one_end": stream((0, "ab", True), (1, "c", True)),
        "num_texts_that_differ": stream((0, "ab", False), (1, "x", True)),
    }
    for mistakes, (name, found) in enumerate(wrong.items(), 1):
        assert getattr(crowd, name) == 0
        crowd.add(found, "abc")
        assert sum(getattr(crowd, each) for each in wrong) == mistakes
        assert getattr(crowd, name) == 1
    crowd.add(stream(error="UNAVAILABLE: gone"), "abc")
    assert crowd.failures == ["UNAVAILABLE: gone"]
    assert crowd.num_streams == 5


def run(server, count, duration, spoil=None):
    async def both():
        async with open_http(server.url) as http:
            questions = await ask_whole(http, count)
        if spoil is not None:
            questions[0] = replace(questions[0], text=spoil)
        return await stream_all(server.grpc_address, questions, duration)

    return asyncio.run(both())


def test_every_connection_streams_once_and_texts_are_those_of_http(own_server):
    crowd = run(own_server, 12, 0.0)
    assert crowd.failures == []
    assert (crowd.num_connections, crowd.num_streams, len(crowd.first_seconds)) == (12, 12, 12)
    assert crowd.num_without_every_index == crowd.num_without_one_end == crowd.num_texts_that_differ == 0
    assert crowd.num_messages >= 12
    assert crowd.num_tokens >= 12


def test_for_a_duration_connections_go_on_with_questions_that_have_answers(own_server):
    crowd = run(own_server, 3, 1.0)
    assert crowd.seconds >= 1.0
    assert crowd.num_streams > 3
    assert crowd.failures == []
    assert crowd.num_texts_that_differ == 0


def test_another_text_is_seen(own_server):
    assert run(own_server, 2, 0.0, spoil="something else").num_texts_that_differ == 1
