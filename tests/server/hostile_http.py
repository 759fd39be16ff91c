"""HTTP clients that misbehave: raw connections, bodies of every kind, and what an answer must keep to.

An outcome says how one request ended for its client; an `UnsoundError`, that it got what none should get.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field

import h11

HOST = "127.0.0.1"
PATIENCE = 60  # seconds in which anything must have ended
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
WORDS = ["one", "two", "What is 17 plus 25?", "The day after Monday.", "你好", "🙂", "Write a list:"]
SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}, "name": {"type": "string", "maxLength": 8}},
    "required": ["age", "name"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": SCHEMA}}]
FORMS = [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}},
    {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"regex": "[a-z]{3,9}"}},
    {"structured_outputs": {"choice": ["yes", "no"]}},
]
BAD_FIELDS = [
    {"temperature": "hot"},
    {"n": 0},
    {"max_tokens": -1},
    {"stop": [1]},
    {"no_such_field": 1},
    {"logit_bias": {"x": 1}},
    {"prompt": {"a": []}, "messages": 5},
    {"stream": "yes"},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": 5}}}},
    {"structured_outputs": {"regex": "("}},
    {"tools": "all", "tool_choice": {}},
    {"timeout": 0},
]
BAD_BODIES = [b"", b"{", b"[1]", b"\xff\xfe{}", b'{"prompt": NaN}', b"[" * 20_000, b'{"prompt": "\\ud800"}']
BAD_HTTP = [
    b"GET\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"GET / HTTP/one\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",  # a host is missing
    b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
    b"\x00" * 500,
]
PATHS = ["/health", "/metrics", "/version", "/docs", "/openapi.json", "/v1/models", "/v1/capabilities"]


class UnsoundError(AssertionError):
    """An answer that no client should get."""


@dataclass(frozen=True)
class Outcome:
    """kind: what was sent; ending: a status, or who closed.

    num_served: choices that the client saw end as they should; num_unseen: those that may have, unseen.
    """

    kind: str
    ending: str
    num_served: int = 0
    num_unseen: int = 0


@dataclass
class Answer:
    """A response that came whole; status 0: the server closed the connection and said nothing."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


# -- connections


def get(path):
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()


def post(path, body, length=None):
    """A request; `length` is what it declares, which may be wrong."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body) if length is None else length}\r\n\r\n".encode() + body


async def talk(port, data, *, send_at_most=None, read_at_most=None, pause=0.0):
    """Send and read the answer; None where this client left first.

    It leaves `pause` seconds after `send_at_most` bytes were sent, or once `read_at_most` were read.
    """
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(data[:send_at_most])
        await writer.drain()
        if send_at_most is not None:
            await asyncio.sleep(pause)
            return None
        return await _read(reader, read_at_most)
    except ConnectionError:  # the server did not want the rest
        return Answer()
    finally:
        writer.transport.abort()


async def _read(reader, at_most):
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x"), ("connection", "close")]))
    connection.send(h11.EndOfMessage())
    answer, num_read = Answer(), 0
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            data = await reader.read(65536)
            num_read += len(data)
            if at_most is not None and num_read >= at_most:
                return None
            if not data and not answer.status:
                return answer
            try:
                connection.receive_data(data)
                continue
            except h11.RemoteProtocolError as error:
                raise UnsoundError(f"the answer was cut off: {error}, after {answer}") from None
        if isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            answer.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return answer
        elif isinstance(event, h11.ConnectionClosed):
            raise UnsoundError(f"the answer was cut off: {answer}")


# -- bodies


def sampling(rng):
    return {
        "max_tokens": rng.randint(1, 60),
        "temperature": rng.choice([0, 0.8, 1.3]),
        "seed": rng.randrange(4),
        "ignore_eos": rng.random() < 0.5,
    }


def generation(rng):
    """A path and a body that can be served."""
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 12)))
    if rng.random() < 0.5:
        prompts = [text, text + "!"] if rng.random() < 0.2 else text
        path, body = COMPLETIONS, {"prompt": prompts, **sampling(rng)}
    else:
        path, body = CHAT, {"messages": [{"role": "user", "content": text}], **sampling(rng)}
        if rng.random() < 0.2:
            body |= {"tools": TOOLS, "tool_choice": "required", "max_tokens": 90}
    if "tools" not in body and rng.random() < 0.25:
        body |= {**rng.choice(FORMS), "max_tokens": 90, "ignore_eos": False}
    if rng.random() < 0.3:
        body["n"] = rng.randint(2, 3)
    if rng.random() < 0.5:
        body["stream"] = True
        if rng.random() < 0.3:
            body["stream_options"] = {"include_usage": True}
    if rng.random() < 0.3:
        body["timings"] = True
    if rng.random() < 0.15:
        body["timeout"] = rng.choice([0.001, 0.02, 0.1])
    return path, body


def count_choices(body):
    return body.get("n", 1) * (len(body["prompt"]) if isinstance(body.get("prompt"), list) else 1)


# -- answers


def finishes(answer, is_stream):
    """One for each choice of a sound answer with status 200; None: a stream that ends in an error."""
    if not is_stream:
        reasons = [choice["finish_reason"] for choice in json.loads(answer.body)["choices"]]
        _check(all(reason in ("stop", "length", "tool_calls") for reason in reasons), answer)
        return reasons
    events = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    parsed = [json.loads(each) for each in events if each != "[DONE]"]
    errors = [each for each in parsed if "error" in each]
    _check(events.count("[DONE]") + len(errors) == 1, answer)
    _check(events[-1] == "[DONE]" or "error" in parsed[-1], answer)
    if errors:
        return None
    choices = [choice for each in parsed for choice in each["choices"]]
    ends = [choice["index"] for choice in choices if choice["finish_reason"]]
    _check(sorted(ends) == sorted({choice["index"] for choice in choices}), answer)
    return ends


def _check(is_sound, answer):
    if not is_sound:
        raise UnsoundError(f"{answer.status} {answer.body[-600:]!r}")


# -- what a client can do: each takes a port and a source of chance


async def ask(port, rng):
    """One request, to its end."""
    path, body = generation(rng)
    num_choices = count_choices(body)
    answer = await talk(port, post(path, json.dumps(body).encode()))
    if answer.status in (429, 504):
        code = json.loads(answer.body)["error"]["code"]
        _check(code == {429: "queue_full", 504: "deadline_exceeded"}[answer.status], answer)
        _check(answer.status != 429 or int(answer.headers["retry-after"]) >= 1, answer)
        return Outcome("generation", str(answer.status), num_unseen=num_choices)
    _check(answer.status == 200, answer)
    ends = finishes(answer, body.get("stream"))
    if ends is None:
        return Outcome("generation", "504 in the stream", num_unseen=num_choices)
    _check(len(ends) == num_choices, answer)
    return Outcome("generation", "200", num_choices)


async def leave(port, rng):
    """One request, left while it is sent, right after, or while the answer comes."""
    path, body = generation(rng)
    body |= {"max_tokens": 150, "ignore_eos": True} if "tools" not in body else {}
    data = post(path, json.dumps(body).encode())
    where = rng.choice(["sending", "sent", "reading"])
    if where == "reading":
        await talk(port, data, read_at_most=rng.randint(1, 4000))
    else:
        cut = rng.randrange(len(data)) if where == "sending" else len(data)
        await talk(port, data, send_at_most=cut, pause=rng.choice([0, 0.003, 0.03]))
    return Outcome("leave", "left", num_unseen=count_choices(body))


async def send_bad_json(port, rng):
    body = rng.choice(BAD_BODIES)
    if rng.random() < 0.7:
        body = json.dumps({"prompt": "Hi", **rng.choice(BAD_FIELDS)}).encode()
    answer = await talk(port, post(rng.choice([CHAT, COMPLETIONS, "/tokenize", "/detokenize"]), body))
    _check(answer.status == 400 and set(json.loads(answer.body)) == {"error"}, answer)
    return Outcome("bad JSON", "400")


async def send_too_much(port, rng):
    body = json.dumps({"prompt": "x" * 200_000}).encode()
    answer = await talk(port, post(COMPLETIONS, body))
    _check(answer.status in (0, 413), answer)  # 0: it was reset while it still sent
    return Outcome("huge body", "413")


async def send_half(port, rng):
    """Declare more than is sent, and wait until the server has had enough."""
    data = post(COMPLETIONS, b'{"prompt": "Hi"', length=500)
    answer = await talk(port, data if rng.random() < 0.5 else data[: rng.randrange(1, 100)])
    _check(answer.status in (0, 400), answer)
    return Outcome("half a request", "closed")


async def send_bad_http(port, rng):
    data = rng.choice([*BAD_HTTP, rng.randbytes(300) + b"\r\n\r\n"])
    answer = await talk(port, data)
    _check(answer.status == 0 or 400 <= answer.status < 500, answer)
    return Outcome("bad HTTP", "400")


async def look_around(port, rng):
    path = rng.choice([*PATHS, "/nothing"])
    answer = await talk(port, get(path))
    _check(answer.status == (404 if path == "/nothing" else 200), answer)
    return Outcome("look around", str(answer.status))


async def tokenize(port, rng):
    text = " ".join(rng.choices(WORDS, k=9))
    body = {"prompt": text, "add_special_tokens": False}
    tokens = json.loads((await talk(port, post("/tokenize", json.dumps(body).encode()))).body)["tokens"]
    answer = await talk(port, post("/detokenize", json.dumps({"tokens": tokens}).encode()))
    _check(json.loads(answer.body) == {"prompt": text}, answer)
    return Outcome("tokenize", "200")


ACTIONS = {
    ask: 8,
    leave: 5,
    send_bad_json: 2,
    send_too_much: 1,
    send_half: 1,
    send_bad_http: 1,
    look_around: 2,
    tokenize: 1,
}


async def flood(port, rng):
    """Many requests at once, more than may wait."""
    drawn = [random.Random(rng.randrange(2**60)) for _ in range(12)]
    return await asyncio.gather(*(ask(port, each) for each in drawn))


async def client(port, rng, num_requests):
    """So many requests one after another; their outcomes."""
    outcomes = []
    for _ in range(num_requests):
        if rng.random() < 0.04:
            outcomes += await asyncio.wait_for(flood(port, rng), PATIENCE)
            continue
        (action,) = rng.choices(list(ACTIONS), list(ACTIONS.values()))
        outcomes.append(await asyncio.wait_for(action(port, rng), PATIENCE))
    return outcomes
