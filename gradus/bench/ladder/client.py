"""The client of the network's rungs: a process of its own that does as little as it can per token.

Not the client of `gradus.bench.clients`: that one dates every token, for four times the processor time, with
which rungs 7 and 8 would be charged where the engine is fast and processors are few.

Commands come as lines of JSON on standard input, each is answered by one line on standard output:

    {"transport": "http" | "sse" | "grpc", "address": HOST:PORT, "bodies": [...], "concurrency": N}
    {"seconds": from the first request's start to the last one's end,
     "answers": [{"text": ..., "num_tokens": by the server's usage}, ...]}    or    {"error": text}

As many threads as requests at a time, each with one connection; what arrives is read after the clock stopped.
"""

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

TIMEOUT = 600.0  # seconds without a byte

Answer = dict[str, Any]
Ask = Callable[[Any], Any]  # sends one request; what came, still unread


class Transport(Protocol):
    """A way to ask."""

    def encode(self, body: Answer) -> Any:
        """A request as it is sent."""

    def connect(self) -> Ask:
        """For one thread."""

    def read(self, found: Any) -> Answer:
        """What came, as it is reported."""


class HttpTransport:
    """`/v1/completions`; the whole body of each answer as it came."""

    def __init__(self, address: str) -> None:
        self._address = address

    def encode(self, body: Answer) -> bytes:
        return json.dumps(body).encode()

    def connect(self) -> Ask:
        connection = http.client.HTTPConnection(self._address, timeout=TIMEOUT)

        def ask(body: bytes) -> bytes:
            connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            found = response.read()
            if response.status != 200:
                raise ValueError(f"status {response.status}: {found[:400].decode(errors='replace')}")
            return found

        return ask

    def read(self, found: bytes) -> Answer:
        whole = json.loads(found)
        return {"text": whole["choices"][0]["text"], "num_tokens": whole["usage"]["completion_tokens"]}


class SseTransport(HttpTransport):
    """The same, as server-sent events."""

    def read(self, found: bytes) -> Answer:
        lines = [line.removeprefix(b"data: ") for line in found.split(b"\n\n") if line.startswith(b"data: {")]
        events = [json.loads(line) for line in lines]
        texts = [choice["text"] for event in events for choice in event["choices"]]
        return {"text": "".join(texts), "num_tokens": events[-1]["usage"]["completion_tokens"]}


class GrpcTransport:
    """`StreamPredict`, a call for each request, all on one connection."""

    def __init__(self, address: str) -> None:
        import grpc

        from gradus.server.grpc.proto import SERVICE, StreamPredictRequest, StreamPredictResponse

        self._request = StreamPredictRequest
        self._call = grpc.insecure_channel(address).stream_stream(
            f"/{SERVICE}/StreamPredict",
            request_serializer=StreamPredictRequest.SerializeToString,
            response_deserializer=StreamPredictResponse.FromString,
        )

    def encode(self, body: Answer) -> Any:
        generation = self._request().generation.__class__(**body.pop("generation"))
        return self._request(generation=generation, **body)

    def connect(self) -> Ask:
        return lambda request: list(self._call(iter([request]), timeout=TIMEOUT))

    def read(self, found: list[Any]) -> Answer:
        text = "".join(message.chunk for message in found)
        return {"text": text, "num_tokens": found[-1].usage.completion_tokens}


TRANSPORTS: dict[str, Callable[[str], Transport]] = {
    "http": HttpTransport,
    "sse": SseTransport,
    "grpc": GrpcTransport,
}


def run(command: Answer) -> Answer:
    transport = TRANSPORTS[command["transport"]](command["address"])
    requests = [transport.encode(body) for body in command["bodies"]]
    asks = [transport.connect() for _ in range(command["concurrency"])]
    start = time.perf_counter()
    found = _ask_all(requests, asks)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "answers": [transport.read(each) for each in found]}


def _ask_all(requests: Sequence[Any], asks: Sequence[Ask]) -> list[Any]:
    """What came for each request; the first failure ends it."""
    waiting: Iterator[tuple[int, Any]] = iter(list(enumerate(requests)))
    found: list[Any] = [None] * len(requests)
    failures: list[Exception] = []

    def work(ask: Ask) -> None:
        try:
            for index, request in waiting:
                found[index] = ask(request)
        except Exception as error:  # whatever it is, it has to be told
            failures.append(error)

    threads = [threading.Thread(target=work, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def main() -> None:
    for line in sys.stdin:
        try:
            answer = run(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
