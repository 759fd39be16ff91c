"""An engine in a process of its own that runs prompts: behind a runner's pipe, or behind HTTP.

Between runs the process is stopped, since some engines' threads spin while nothing is asked of them; so
several can be held ready and measured in turns.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from gradus.bench.child_process import ChildProcess, PeerError
from gradus.bench.http_client import is_healthy, run_over_http
from gradus.bench.timings import RequestTiming, Run

READY_SECONDS = 300.0


class Endpoint(Protocol):
    """A loaded engine. `started` is when its process began, by `time.perf_counter`."""

    started: float
    software: Mapping[str, Any]

    def run(
        self, prompts: Sequence[list[int]], output_len: int, concurrency: int, options: Mapping[str, Any]
    ) -> Run:
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

    def run(
        self, prompts: Sequence[list[int]], output_len: int, concurrency: int, options: Mapping[str, Any]
    ) -> Run:
        command = {"prompts": prompts, "output_len": output_len, "concurrency": concurrency}
        with self._process.awake():
            answer = self._process.ask({"command": "run", **command, "options": options})
        return Run(tuple(RequestTiming.from_dict(request) for request in answer["requests"]))

    def peak_memory(self) -> int | None:
        return self._process.peak_memory()

    def close(self) -> None:
        self._process.close()


class ServerEndpoint:
    """Implements `Endpoint` over HTTP; `command` gets the port that the server must listen on.

    `environment` are variables beside those of this process. `ready` is when it was first found healthy.
    """

    def __init__(
        self,
        command: Sequence[str],
        extra: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._extra = extra
        self._process = ChildProcess(
            [*command, "--port", str(port)], has_pipes=False, environment=environment
        )
        self.started = self._process.started
        self.software: Mapping[str, Any] = {}
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise
        self.ready = time.perf_counter()
        self._process.stop()

    def run(
        self, prompts: Sequence[list[int]], output_len: int, concurrency: int, options: Mapping[str, Any]
    ) -> Run:
        with self._process.awake():
            return run_over_http(self._url, prompts, output_len, concurrency, {**self._extra, **options})

    def peak_memory(self) -> int | None:
        return self._process.peak_memory()

    def close(self) -> None:
        self._process.close()

    def _wait_until_ready(self) -> None:
        while not is_healthy(self._url):
            if self._process.popen.poll() is not None:
                raise PeerError(self._process.obituary())
            if time.perf_counter() - self.started > READY_SECONDS:
                raise PeerError(f"{self._process.name} was not ready after {READY_SECONDS:g} s")
            time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
