"""How log lines look and where they go: standard error, as text for people or as JSON objects.

A line is written by a thread of its own, so that a slow reader of standard error never holds up the server;
what does not fit into the queue meanwhile is dropped and counted. A record's `fields` (passed as
`extra={"fields": {...}}`) are its structured part.
"""

import json
import logging
import queue
import sys
import threading
import time
from typing import Any, TextIO

_MAX_QUEUED = 10_000
_CLOSE_SECONDS = 1.0


def configure_logging(level: str = "info", form: str = "text", stream: TextIO | None = None) -> None:
    """Send this program's records from `level` on, and other libraries' warnings, to standard error."""
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, BackgroundHandler)]:
        root.removeHandler(handler)
        handler.close()
    handler = BackgroundHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("gradus").setLevel(level.upper())


class TextFormatter(logging.Formatter):
    """`2026-11-21 09:30:00.125 INFO request id=... status=200`; values with spaces or controls are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        head = f"{clock}.{int(record.msecs):03d} {record.levelname} {record.getMessage()}"
        parts = [head, *(f"{_plain(name)}={_plain(value)}" for name, value in _fields(record).items())]
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (UTC, ISO 8601), `level`, `logger`, `message`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{clock}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class BackgroundHandler(logging.Handler):
    """Formats and writes in a thread, which starts with the first record."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._queue: queue.Queue[logging.LogRecord | None] = queue.Queue(_MAX_QUEUED)
        self._num_dropped = 0
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="gradus-log", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._num_dropped += 1

    def close(self) -> None:
        """Write what is queued, within a second."""
        if self._thread is not None and self._thread.is_alive():
            try:
                self._queue.put(None, timeout=_CLOSE_SECONDS)
            except queue.Full:
                pass
            else:
                self._thread.join(_CLOSE_SECONDS)
        super().close()

    def _write_all(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                self._stream.write(self.format(record) + "\n")
                if self._num_dropped:
                    lost, self._num_dropped = self._num_dropped, 0
                    self._stream.write(self.format(_loss(lost)) + "\n")
                self._stream.flush()
            except Exception:
                self.handleError(record)


def _loss(num_lines: int) -> logging.LogRecord:
    text = f"{num_lines} log lines were dropped: nobody read them"
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, None, None)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _plain(value: Any) -> str:
    text = str(value)
    is_plain = text.isprintable() and not any(letter in text for letter in ' "=')
    return text if is_plain and text else json.dumps(text, ensure_ascii=False)
