"""Rungs 7 to 9: the product's server, HTTP and gRPC, asked by a client in a process of its own.

The server is the one that `gradus serve` runs, on the ladder's own loaded model: the rungs below and the
server share weights, memory and process, so what a rung adds is its layer and not another process's luck.
"""

import json
import subprocess
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from gradus.bench.child_process import own_command
from gradus.bench.ladder.base import Ground, Rung, RungRun, Stopwatch
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.engine.async_engine import AsyncEngine
from gradus.errors import GradusError, RequestFailedError
from gradus.server.http.server import HttpServer
from gradus.server.run import bind
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

READY_SECONDS = 60.0


class Server:
    """Serves HTTP and gRPC on free ports of this machine, in a thread."""

    def __init__(self, ground: Ground) -> None:
        self.core = ground.new_core()
        settings = ServerSettings(port=0, grpc_port=0)
        runtime = ground.runtime
        service = Service(AsyncEngine(self.core), runtime.inputs, runtime.source.name, settings)
        listener = bind(settings)
        self.http_address = "{}:{}".format(*listener.getsockname()[:2])
        self.grpc_address = ""
        self._is_ready = threading.Event()
        self._http = HttpServer(service, settings, self._note_ready)
        self._thread = threading.Thread(target=self._http.run, args=([listener],), name="gradus-server")
        self._thread.start()
        if not self._is_ready.wait(READY_SECONDS):
            self.close()
            raise GradusError(f"the server was not ready after {READY_SECONDS:g} s")

    def _note_ready(self, grpc_addresses: list[str]) -> None:
        self.grpc_address = grpc_addresses[0]
        self._is_ready.set()

    def close(self) -> None:
        self._http.should_exit = True
        self._thread.join()


class Client:
    """The process that asks; see `client.py`."""

    def __init__(self) -> None:
        command = own_command("gradus.bench.ladder.client")
        # Not of the terminal's group: what interrupts the bench ends the client by closing its input.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def ask(self, command: Mapping[str, Any], watch: Stopwatch) -> dict[str, Any]:
        """Have the command done, by the watch.

        Raises:
            RequestFailedError: a request failed.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        line = json.dumps(command).encode() + b"\n"
        with watch.running():
            stdin.write(line)
            stdin.flush()
            answer = stdout.readline()
        found = json.loads(answer or b'{"error": "the client ended"}')
        if "error" in found:
            raise RequestFailedError(found["error"])
        return found

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class NetworkRung(Rung):
    """A way to ask the server; the rungs share it, and the client."""

    transport: Literal["http", "sse", "grpc"]

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._server: Server = ground.share("server", lambda: Server(ground))
        self._client: Client = ground.share("client", Client)

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        counters = self._server.core.counters
        num_steps, num_tokens = counters.num_steps, counters.num_generated_tokens
        bodies = [self.body(request) for request in requests]
        command = {"transport": self.transport, "address": self._address, "concurrency": concurrency}
        watch = Stopwatch()
        answer = self._client.ask({**command, "bodies": bodies}, watch)
        return RungRun(
            answer["seconds"],
            watch.cpu_seconds,
            counters.num_steps - num_steps,
            counters.num_generated_tokens - num_tokens,
            [Output(each["num_tokens"], text=each["text"]) for each in answer["answers"]],
        )

    @property
    def _address(self) -> str:
        return self._server.grpc_address if self.transport == "grpc" else self._server.http_address

    @abstractmethod
    def body(self, request: LadderRequest) -> dict[str, Any]:
        """What is sent."""


class HttpRung(NetworkRung):
    """Rung 7: `/v1/completions`, answered in one piece."""

    transport: Literal["http", "sse", "grpc"] = "http"

    def body(self, request: LadderRequest) -> dict[str, Any]:
        return {
            "prompt": request.text,
            "add_special_tokens": False,
            "max_tokens": request.output_len,
            "temperature": 0,
            "repetition_penalty": 1,
            "ignore_eos": True,
            "stop": request.engine_request.params.stop,
        }


class SseRung(HttpRung):
    """Rung 8: the same, streamed as server-sent events."""

    transport: Literal["http", "sse", "grpc"] = "sse"

    def body(self, request: LadderRequest) -> dict[str, Any]:
        return {**super().body(request), "stream": True, "stream_options": {"include_usage": True}}


class GrpcRung(NetworkRung):
    """Rung 9: `StreamPredict`, in the chunks and messages that are the server's default."""

    transport: Literal["http", "sse", "grpc"] = "grpc"

    def body(self, request: LadderRequest) -> dict[str, Any]:
        return {
            "prompt": request.text,
            "add_special_tokens": False,
            "generation": {
                "max_new_tokens": request.output_len,
                "temperature": 0,
                "repetition_penalty": 1,
                "ignore_eos": True,
                "stop": request.engine_request.params.stop,
            },
        }
