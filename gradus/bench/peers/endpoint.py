"""An engine in a process of its own that runs prompts: behind a runner's pipe, or behind HTTP.

Between runs the process is stopped, since some engines' threads spin while nothing is asked of them; so
several can be held ready and measured in turns. All servers are asked alike: streams, each on a connection of
its own, whose tokens the usage at the end counts.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import httpx

from gradus.bench.child_process import ChildProcess, PeerError
from gradus.bench.clients.answered import Answered
from gradus.bench.clients.completions import COMPLETIONS, Clock, CompletionsClient, open_http, stopwatch
from gradus.bench.clients.drive import drive
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workloads.base import WorkloadRequest
from gradus.errors import RequestFailedError

READY_SECONDS = 300.0
PROBE_SECONDS = 5.0
BODY = {"temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}


class Endpoint(Protocol):
    """A loaded engine. `started` is when its process began, by `time.perf_counter`."""

    started: float
    software: Mapping[str, Any]

    def run(self, prompts: Sequence[list[int]], output_len: int, concurrency: int) -> Run:
        """Run prompts, so many at a time."""

    def peak_memory(self) -> int | None:
        """Bytes that were resident at most, mapped pages included; None where the system does not say."""

    def close(self) -> None:
        """End the process."""


class RunnerEndpoint:
    """Implements `Endpoint` over a runner's standard input and output; see `runners/peer_protocol.py`."""

    def __init__(self, command: Sequence[str], load: Mapping[str, Any]) -> None:
        self._process = ChildProcess(command, has_pipes=True)
        self.started = self._process.started
        try:
            self.software = self._process.ask({"command": "load", **load})["software"]
        except BaseException:
            self.close()
            raise
        self._process.stop()

    def run(self, prompts: Sequence[list[int]], output_len: int, concurrency: int) -> Run:
        command = {"prompts": prompts, "output_len": output_len, "concurrency": concurrency}
        with self._process.awake():
            answer = self._process.ask({"command": "run", **command})
        return Run(tuple(RequestTiming.from_dict(request) for request in answer["requests"]))

    def peak_memory(self) -> int | None:
        return self._process.peak_memory()

    def close(self) -> None:
        self._process.close()


class ServerEndpoint:
    """Implements `Endpoint` over HTTP; `command` gets the port that the server must listen on.

    `extra` are fields of every body that only this server has, `environment` variables beside those of this
    process; `software` is what is known of the server. `ready` is when it was first found healthy.
    """

    def __init__(
        self,
        command: Sequence[str],
        extra: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        software: Mapping[str, Any] | None = None,
    ) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._extra = extra
        self._process = ChildProcess(
            [*command, "--port", str(port)], has_pipes=False, environment=environment
        )
        self.started = self._process.started
        self.software: Mapping[str, Any] = software or {}
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        self.ready = time.perf_counter()
        self._process.stop()

    def run(self, prompts: Sequence[list[int]], output_len: int, concurrency: int) -> Run:
        """Raises:
        RequestFailedError: a request failed, or was not given `output_len` tokens.
        """
        requests = [WorkloadRequest(prompt, output_len) for prompt in prompts]
        with self._process.awake():
            answers = asyncio.run(self._ask_all(requests, concurrency))
        return Run(tuple(_timing(answer, output_len) for answer in answers))

    def peak_memory(self) -> int | None:
        return self._process.peak_memory()

    def close(self) -> None:
        self._process.close()

    async def _ask_all(self, requests: Sequence[WorkloadRequest], concurrency: int) -> list[Answered]:
        async with open_http(self._url) as http:
            client = CompletionsClient(http, COMPLETIONS, {**BODY, **self._extra})

            async def send(request: WorkloadRequest, clock: Clock) -> Answered:
                return await client.ask(list(request.prompt), request.output_len, clock)

            return await drive(requests, concurrency, send, stopwatch())

    def _wait_until_ready(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PROBE_SECONDS, trust_env=False) as http:
            while not _is_healthy(http):
                if self._process.popen.poll() is not None:
                    raise PeerError(self._process.obituary())
                if time.perf_counter() - self.started > READY_SECONDS:
                    raise PeerError(f"{self._process.name} was not ready after {READY_SECONDS:g} s")
                time.sleep(0.01)


def _is_healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == 200
    except httpx.HTTPError:
        return False


def _timing(answer: Answered, output_len: int) -> RequestTiming:
    if answer.timing is None:
        raise RequestFailedError(answer.error or "the server did not count the prompt's tokens")
    if answer.num_output_tokens != output_len:
        raise RequestFailedError(
            f"asked for {output_len} tokens, the server counts {answer.num_output_tokens}"
        )
    return answer.timing


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
