"""An engine in a process of its own that runs prompts: behind a runner's pipe, or behind HTTP.

Between runs the process is stopped, since some engines' threads spin while nothing is asked of them; so
several can be held ready and measured in turns.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from gradus.bench.http_client import is_healthy, run_over_http
from gradus.bench.timings import RequestTiming, Run
from gradus.errors import GradusError

READY_SECONDS = 300.0
LAST_LINES = 400  # characters of a process's log in an error


class PeerError(GradusError):
    """An engine's process ended, does not answer, or says that it failed."""


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
        self._process = _Process(command, has_pipes=True)
        self.started = self._process.started
        try:
            self.software = self._ask({"command": "load", **load})["software"]
        except BaseException:
            self.close()
            raise
        self._process.stop()

    def run(
        self, prompts: Sequence[list[int]], output_len: int, concurrency: int, options: Mapping[str, Any]
    ) -> Run:
        command = {"prompts": prompts, "output_len": output_len, "concurrency": concurrency}
        with self._process.awake():
            answer = self._ask({"command": "run", **command, "options": options})
        return Run(tuple(RequestTiming.from_dict(request) for request in answer["requests"]))

    def peak_memory(self) -> int | None:
        return self._process.peak_memory()

    def close(self) -> None:
        self._process.close()

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        popen = self._process.popen
        assert popen.stdin is not None
        assert popen.stdout is not None
        try:
            popen.stdin.write(json.dumps(command).encode() + b"\n")
            popen.stdin.flush()
            line = popen.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise PeerError(self._process.obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer


class ServerEndpoint:
    """Implements `Endpoint` over HTTP; `command` gets the port that the server must listen on."""

    def __init__(self, command: Sequence[str], extra: Mapping[str, Any]) -> None:
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._extra = extra
        self._process = _Process([*command, "--port", str(port)], has_pipes=False)
        self.started = self._process.started
        self.software: Mapping[str, Any] = {}
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise
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


class _Process:
    """A child whose standard error is kept for when it fails."""

    def __init__(self, command: Sequence[str], *, has_pipes: bool) -> None:
        self.name = " ".join(Path(part).name for part in command[:3])
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        stdin, stdout = (subprocess.PIPE, subprocess.PIPE) if has_pipes else (subprocess.DEVNULL, self._log)
        self.started = time.perf_counter()
        self.popen = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=self._log)

    def peak_memory(self) -> int | None:
        """The kernel's high-water mark of resident pages, files' included."""
        try:
            lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)

    def stop(self) -> None:
        """Take it off the processor; returns when it is."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self.popen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """While it has something to do."""
        self.popen.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def obituary(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - LAST_LINES))
        text = " ".join(self._log.read().decode(errors="replace").split())
        return f"{self.name} ended with {self.popen.wait()}: {text}"

    def close(self) -> None:
        self.popen.send_signal(signal.SIGCONT)
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        else:
            self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        if self.popen.stdout is not None:
            self.popen.stdout.close()
        self._log.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
