"""A client of `/v1/completions` that streams: the same few lines for every server, and little work per token.

One connection per request, one thread per request in flight. Counts come from the server's usage, not from
chunks: a chunk may carry the text of several tokens, or of none.
"""

import http.client
import json
import threading
import time
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from gradus.bench.timings import RequestTiming, Run
from gradus.errors import RequestFailedError

TIMEOUT = 600.0  # seconds without a byte


def run_over_http(
    url: str, prompts: Sequence[list[int]], output_len: int, concurrency: int, extra: Mapping[str, Any]
) -> Run:
    """Run prompts, `concurrency` at a time; `extra` are fields that only this server has.

    Raises:
        RequestFailedError: a request was refused, broke off, or gave another number of tokens.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for index in range(len(prompts)):
        waiting.put(index)
    timings: dict[int, RequestTiming] = {}
    failures: list[str] = []
    begin = time.perf_counter()

    def work() -> None:
        try:
            while not failures:
                index = waiting.get_nowait()
                timings[index] = _stream(url, prompts[index], output_len, extra, begin)
        except Empty:
            return
        except (OSError, http.client.HTTPException, RequestFailedError, ValueError) as error:
            failures.append(f"{url}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(min(concurrency, len(prompts)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RequestFailedError(failures[0])
    return Run(tuple(timings[index] for index in range(len(prompts))))


def is_healthy(url: str) -> bool:
    """Whether `/health` answers 200."""
    try:
        connection = _connect(url)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):
        return False


def _stream(
    url: str, prompt: list[int], output_len: int, extra: Mapping[str, Any], begin: float
) -> RequestTiming:
    body = {
        "prompt": prompt,
        "max_tokens": output_len,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
        **extra,
    }
    encoded = json.dumps(body).encode()
    connection = _connect(url)
    try:
        start = time.perf_counter() - begin
        connection.request("POST", "/v1/completions", encoded, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RequestFailedError(
                f"status {response.status}: {response.read(400).decode(errors='replace')}"
            )
        first, usage = 0.0, b""
        for line in response:
            if not line.startswith(b"data: {"):
                continue
            first = first or time.perf_counter() - begin
            if b'"usage"' in line:
                usage = line
        end = time.perf_counter() - begin
    finally:
        connection.close()
    count = _completion_tokens(usage)
    if count != output_len:
        raise RequestFailedError(f"asked for {output_len} tokens, the server counts {count}")
    return RequestTiming(start, first, end, len(prompt), count)


def _completion_tokens(line: bytes) -> int:
    if not line:
        raise RequestFailedError("the stream ended without usage")
    usage = json.loads(line.removeprefix(b"data: ")).get("usage") or {}
    return int(usage.get("completion_tokens", 0))


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=TIMEOUT)
