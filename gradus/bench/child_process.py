"""A process that a bench started: asked in lines of JSON where it has pipes, put to sleep between its turns.

Its standard error is kept for when it fails. Knows nothing of what runs in it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gradus.bench.process_memory import peak_resident
from gradus.errors import GradusError

LAST_LINES = 400  # characters of a process's log in an error


class PeerError(GradusError):
    """The process on the other side ended, does not answer, or says that it failed."""


def own_command(module: str, *arguments: str) -> list[str]:
    """Runs a module of this very installation: `-P`, since the working folder may be another checkout."""
    return [sys.executable, "-Pm", module, *arguments]


class ChildProcess:
    """A child; `started` is when, by `time.perf_counter`, which on one machine all processes share.

    `environment` are variables beside those of this process.
    """

    def __init__(
        self, command: Sequence[str], *, has_pipes: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = " ".join(Path(part).name for part in command[:3])
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        stdin, stdout = (subprocess.PIPE, subprocess.PIPE) if has_pipes else (subprocess.DEVNULL, self._log)
        variables = {**os.environ, **(environment or {})}
        self.started = time.perf_counter()
        self.popen = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=self._log, env=variables)

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a line of JSON and wait for the line that answers it.

        Raises:
            PeerError: the process ended, or answered with an error.
        """
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        try:
            self.popen.stdin.write(json.dumps(command).encode() + b"\n")
            self.popen.stdin.flush()
            line = self.popen.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise PeerError(self.obituary())
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def peak_memory(self) -> int | None:
        """Bytes that were resident at most, mapped files' included; None where the system does not say."""
        return peak_resident(self.popen.pid)

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
        """How it ended, and the last that it wrote."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - LAST_LINES))
        text = " ".join(self._log.read().decode(errors="replace").split())
        return f"{self.name} ended with {self.popen.wait()}: {text}"

    def close(self) -> None:
        """End it: by the end of its input, or by a signal where it has none."""
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
