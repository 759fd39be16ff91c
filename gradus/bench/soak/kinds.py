"""What the soak's clients do: each kind is a function of the server and a source of chance.

A kind raises `UnexpectedAnswerError` where the server answered in any other way than the kind asks for.
"""

import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from gradus.bench.clients.completions import CHAT, COMPLETIONS
from gradus.bench.clients.grpc_streams import GrpcClient
from gradus.errors import GradusError
from gradus.server.grpc.proto import StreamPredictRequest

TEXT = "one two three What is 17 plus 25? The day after Monday. Write a list: red green blue 你好 🙂"
SHOWN = 300  # characters of an answer in a failure
FIELDS = ["name", "age"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": FIELDS,
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}
READ_ONLY = ("/health", "/metrics", "/v1/models", "/v1/capabilities", "/openapi.json")


class UnexpectedAnswerError(GradusError):
    """An answer that the request did not ask for."""


@dataclass(frozen=True, slots=True)
class Server:
    """The ways to reach it."""

    http: httpx.AsyncClient
    grpc: GrpcClient


async def whole_chat(server: Server, draw: random.Random) -> None:
    answer = await _post(server, CHAT, {**_chat(draw), "timings": draw.random() < 0.5})
    _expect(answer["choices"][0]["finish_reason"] in ("stop", "length"), answer)


async def streamed_chat(server: Server, draw: random.Random) -> None:
    await _read_events(server, CHAT, _chat(draw))


async def whole_completion(server: Server, draw: random.Random) -> None:
    n = draw.randint(1, 4)
    answer = await _post(server, COMPLETIONS, {**_completion(draw), "n": n})
    _expect(len(answer["choices"]) == n, answer)


async def streamed_completion(server: Server, draw: random.Random) -> None:
    await _read_events(server, COMPLETIONS, {**_completion(draw), "stream_chunk_size": draw.randint(1, 8)})


async def structured(server: Server, draw: random.Random) -> None:
    """Some of the schemas are new each time, so that none is found compiled."""
    schema = {**SCHEMA, "title": _prompt(draw)} if draw.random() < 0.5 else SCHEMA
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = await _post(server, CHAT, {**_chat(draw), "max_tokens": 96, "response_format": form})
    choice = answer["choices"][0]
    if choice["finish_reason"] == "stop":
        _expect(set(json.loads(choice["message"]["content"])) == set(FIELDS), choice)


async def tool_call(server: Server, draw: random.Random) -> None:
    body = {**_chat(draw), "max_tokens": 128, "tools": [TOOL], "tool_choice": "required"}
    answer = await _post(server, CHAT, body)
    _expect(answer["choices"][0]["finish_reason"] in ("tool_calls", "length"), answer)


async def left_early(server: Server, draw: random.Random) -> None:
    """The client goes away in the middle of a stream."""
    await _read_events(server, COMPLETIONS, {**_completion(draw), "max_tokens": 400}, draw.randint(1, 40))


async def refused(server: Server, draw: random.Random) -> None:
    wrong: dict[str, Any] = draw.choice([{"temperature": -1}, {"prompt": None}, {"unknown": 1}, {"n": 0}])
    answer = await _post(server, COMPLETIONS, {**_completion(draw), **wrong}, status=400)
    _expect("message" in answer["error"], answer)


async def asked(server: Server, draw: random.Random) -> None:
    path = draw.choice(READ_ONLY)
    response = await server.http.get(path)
    _expect(response.status_code == 200, f"{path} {response.status_code}")


async def tokenized(server: Server, draw: random.Random) -> None:
    text = _prompt(draw)
    tokens = (await _post(server, "/tokenize", {"prompt": text, "add_special_tokens": False}))["tokens"]
    _expect((await _post(server, "/detokenize", {"tokens": tokens}))["prompt"] == text, text)


async def grpc_streams(server: Server, draw: random.Random) -> None:
    """A call of some requests; one in four is cancelled."""
    names = [str(i) for i in range(draw.randint(1, 4))]
    call = server.grpc.predict(iter([_grpc_request(draw, name) for name in names]))
    if draw.random() < 0.25:
        await call.read()
        call.cancel()
        return
    ends = [message.trace_id async for message in call if message.end_of_stream]
    _expect(sorted(ends) == names, ends)


KINDS: dict[Callable[[Server, random.Random], Awaitable[None]], int] = {  # how often each, relatively
    whole_chat: 3,
    streamed_chat: 4,
    whole_completion: 2,
    streamed_completion: 2,
    structured: 2,
    tool_call: 1,
    left_early: 2,
    refused: 1,
    asked: 2,
    tokenized: 1,
    grpc_streams: 3,
}


def _prompt(draw: random.Random) -> str:
    return " ".join(draw.choices(TEXT.split(), k=draw.randint(1, 60)))


def _sampling(draw: random.Random) -> dict[str, Any]:
    return {
        "max_tokens": draw.randint(1, 96),
        "temperature": draw.choice([0, 0.7, 1.2]),
        "seed": draw.randrange(2**40),
        "ignore_eos": draw.random() < 0.3,
    }


def _completion(draw: random.Random) -> dict[str, Any]:
    return {"prompt": _prompt(draw), **_sampling(draw)}


def _chat(draw: random.Random) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": _prompt(draw)}], **_sampling(draw)}


def _grpc_request(draw: random.Random, name: str) -> Any:
    generation = _sampling(draw)
    generation["max_new_tokens"] = generation.pop("max_tokens")
    return StreamPredictRequest(prompt=_prompt(draw), generation=generation, metadata={"trace_id": name})


def _expect(is_right: bool, answer: object) -> None:
    if not is_right:
        raise UnexpectedAnswerError(str(answer)[:SHOWN])


async def _post(server: Server, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    response = await server.http.post(path, json=body)
    _expect(response.status_code == status, f"{response.status_code} {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


async def _read_events(server: Server, path: str, body: dict[str, Any], at_most: int | None = None) -> None:
    """A stream to its end, or to its event number `at_most`, where the client leaves."""
    last, num_events = "", 0
    async with server.http.stream("POST", path, json={**body, "stream": True}) as response:
        _expect(response.status_code == 200, response.status_code)
        async for line in response.aiter_lines():
            if line:
                last, num_events = line, num_events + 1
            if num_events == at_most:
                return
    _expect(last == "data: [DONE]", last)
