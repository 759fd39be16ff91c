"""Each kind of client: content with our server's answers, and not with wrong ones."""

import asyncio
import random

import httpx
import pytest

from gradus.bench.clients.completions import open_http
from gradus.bench.clients.grpc_streams import GrpcClient
from gradus.bench.soak import kinds
from gradus.bench.soak.kinds import KINDS, Server, UnexpectedAnswerError


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_server_gives_every_kind_what_it_asks_for(own_server, kind):
    async def run():
        async with open_http(own_server.url) as http, GrpcClient(own_server.grpc_address) as client:
            for seed in range(3):
                await kind(Server(http, client), random.Random(seed))

    asyncio.run(run())


def ask(kind, answer):
    async def run():
        transport = httpx.MockTransport(lambda request: answer)
        async with httpx.AsyncClient(base_url="http://scripted", transport=transport) as http:
            await kind(Server(http, None), random.Random(0))

    asyncio.run(run())


def choice(**fields):
    return httpx.Response(200, json={"choices": [fields]})


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (kinds.whole_chat, choice(finish_reason=None)),
        (kinds.whole_chat, httpx.Response(503, text="busy")),
        (kinds.streamed_chat, httpx.Response(200, text='data: {"choices": []}\n\n')),
        (kinds.streamed_completion, httpx.Response(500)),
        (kinds.whole_completion, httpx.Response(200, json={"choices": []})),
        (kinds.structured, choice(finish_reason="stop", message={"content": '{"name": "a"}'})),
        (kinds.tool_call, choice(finish_reason="stop")),
        (kinds.refused, choice(finish_reason="stop")),
        (kinds.refused, httpx.Response(400, json={"error": {}})),
        (kinds.asked, httpx.Response(404)),
        (kinds.tokenized, httpx.Response(200, json={"tokens": [], "prompt": ""})),
    ],
)
def test_a_wrong_answer_is_seen(kind, answer):
    with pytest.raises(UnexpectedAnswerError):
        ask(kind, answer)


def test_an_answer_that_breaks_its_schemas_syntax_is_seen():
    with pytest.raises(ValueError, match="Expecting"):
        ask(kinds.structured, choice(finish_reason="stop", message={"content": '{"name": '}))
