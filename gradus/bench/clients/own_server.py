"""A `gradus serve` process of our own, on free ports: its beginning, its addresses, its memory, its end."""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from gradus.bench.serve_command import serve_command
from gradus.config import EngineConfig
from gradus.errors import GradusError

LAST_LINES = 600  # characters of its log in an error
STOP_SECONDS = 60.0


class ServerStartError(GradusError):
    """The process ended before it served."""


class OwnServer:
    """A server of the model and configuration that is given; ready when it has been made.

    Raises:
        ServerStartError: it did not start; has the end of its log.
    """

    def __init__(self, config: EngineConfig, *, has_grpc: bool = False, options: Sequence[str] = ()) -> None:
        grpc = ["--grpc-port", "0"] if has_grpc else []
        command = [*serve_command(config), "--port", "0", *grpc, "--log-level", "warning", *options]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._log, text=True)
        self.url = self._announced(r"(http://\S+)/v1")
        self.grpc_address = self._announced(r"gRPC is served at (\S+)") if has_grpc else ""

    def __enter__(self) -> "OwnServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """End the process; its exit status."""
        if self._process.stdout is not None and not self._process.stdout.closed:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()
            self._log.close()
        return self._process.returncode

    def usage(self) -> dict[str, float]:
        """Resident bytes, open files, threads; what the system does not tell is absent."""
        folder = Path(f"/proc/{self._process.pid}")
        try:
            status = (folder / "status").read_text()
            open_files = len(list((folder / "fd").iterdir()))
        except OSError:
            return {}
        found: dict[str, float] = {"open_files": open_files}
        for name, field, factor in (("resident_bytes", "VmRSS", 1024), ("threads", "Threads", 1)):
            if match := re.search(rf"^{field}:\s+(\d+)", status, re.M):
                found[name] = int(match.group(1)) * factor
        return found

    def _announced(self, pattern: str) -> str:
        """What the server prints once it is ready."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(pattern, line):
                return found.group(1)
        status = self._process.wait()
        self._log.seek(0)
        text = " ".join(self._log.read().decode(errors="replace")[-LAST_LINES:].split())
        self.close()
        raise ServerStartError(f"the server ended with {status}: {text}")
