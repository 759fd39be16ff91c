"""A completions server without a network, whose pieces come at the times that a test says."""

import json
from dataclasses import dataclass, field

import httpx


@dataclass
class ScriptedServer(httpx.AsyncBaseTransport):
    """Answers all requests alike; `pieces` are (seconds, bytes) and set the clock as they come."""

    pieces: list = field(default_factory=list)
    status: int = 200
    now: float = 0.0
    bodies: list = field(default_factory=list)

    def clock(self):
        return self.now

    def http(self):
        return httpx.AsyncClient(base_url="http://scripted", transport=self)

    async def handle_async_request(self, request):
        self.bodies.append(json.loads(await request.aread()))
        return httpx.Response(self.status, stream=_Pieces(self), request=request)


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, server):
        self._server = server

    async def __aiter__(self):
        for at, piece in self._server.pieces:
            self._server.now = at
            yield piece


def event(value):
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def text(value, finish_reason=None):
    return event({"choices": [{"index": 0, "text": value, "finish_reason": finish_reason}]})


def delta(finish_reason=None, **fields):
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


def usage(prompt, completion):
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


DONE = b"data: [DONE]\n\n"
