"""The output of a batch, which is also the record of what is done: a killed run goes on from it.

A result is appended in one write and never changed. What a kill leaves behind is at most one incomplete last
line, which is cut off. Knows files; nothing of engines.
"""

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

from gradus.errors import ConfigError, GradusError
from gradus.server.batch.lines import ID_PREFIX, BadLine, BatchRequest

_BEGINNING = b'{"id":"' + ID_PREFIX.encode()


class JournalError(GradusError):
    """A result could not be written; the message says what becomes of the others."""


class Journal:
    """An output file, open for appending by this process alone.

    Raises:
        ConfigError: it cannot be opened, is in use by another run, or holds something else than results.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_answered = 0  # status 200, earlier runs included
        self.num_failed = 0
        self._ids: set[str] = set()
        self._bad_lines: set[int] = set()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror or error}; choose another --output"
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise ConfigError(f"{path} is no ordinary file, so no run could go on from it; choose one")
            self._lock()
            self._recover()
        except BaseException:
            os.close(self._file)
            raise

    @property
    def num_done(self) -> int:
        return self.num_answered + self.num_failed

    def has(self, line: BatchRequest | BadLine) -> bool:
        """Whether the result of this line is there."""
        return line.number in self._bad_lines if isinstance(line, BadLine) else line.custom_id in self._ids

    def append(self, result: bytes) -> None:
        """Add one result, a line with its end. The operating system has it when this returns.

        Raises:
            JournalError: it could not be written.
        """
        try:
            written = os.write(self._file, result)
            while written < len(result):  # a disk that is nearly full
                written += os.write(self._file, result[written:])
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written: {error.strerror or error}; what is in it is kept, and the "
                "same command goes on from there"
            ) from error
        self._note(json.loads(result))

    def close(self) -> None:
        """Have everything on the disk."""
        try:
            os.fsync(self._file)
        except OSError:  # a file system that cannot, or a pipe
            pass
        finally:
            os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"{self.path} is being written by another run; wait for it or choose another --output"
            ) from error

    def _recover(self) -> None:
        """Take note of what is done and cut off what is incomplete."""
        end = 0
        with open(os.dup(self._file), "rb") as file:
            file.seek(0)
            for number, raw in enumerate(file, start=1):
                if raw.endswith(b"\n"):
                    self._note(self._result(number, raw))
                    end += len(raw)
                elif not (raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw)):
                    raise self._foreign(number)
        os.ftruncate(self._file, end)

    def _result(self, number: int, raw: bytes) -> dict[str, Any]:
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            raise self._foreign(number) from None
        is_result = isinstance(value, dict) and (
            (isinstance(value.get("custom_id"), str) and _status(value) is not None) or _bad_line(value)
        )
        if not is_result:
            raise self._foreign(number)
        return value

    def _foreign(self, number: int) -> ConfigError:
        return ConfigError(
            f"{self.path} exists, and its line {number} is no result of a batch; choose another --output"
        )

    def _note(self, result: dict[str, Any]) -> None:
        status = _status(result)
        bad_line = _bad_line(result)
        if bad_line is not None:
            self._bad_lines.add(bad_line)
        else:
            self._ids.add(result["custom_id"])
        if status == 200:
            self.num_answered += 1
        else:
            self.num_failed += 1


def _status(result: dict[str, Any]) -> int | None:
    response = result.get("response")
    status = response.get("status_code") if isinstance(response, dict) else None
    return status if type(status) is int else None


def _bad_line(result: dict[str, Any]) -> int | None:
    error = result.get("error")
    line = error.get("line") if isinstance(error, dict) else None
    return line if type(line) is int else None
