"""Lines of the log: their two shapes, where they go, and a reader that does not read."""

import io
import json
import logging
import re
import threading

import pytest

from gradus.errors import ConfigError
from gradus.server.observe import logs
from gradus.server.observe.logs import BackgroundHandler, JsonFormatter, TextFormatter, configure_logging
from gradus.server.settings import ServerSettings


def record(message="request", fields=None, error=None, level=logging.INFO):
    made = logging.LogRecord(
        "gradus.test", level, "file.py", 1, message, (), error and (type(error), error, None)
    )
    made.created = 1_000_000_000.25
    made.msecs = 250.0
    if fields is not None:
        made.fields = fields
    return made


@pytest.fixture
def restored():
    """The loggers as they were."""
    root, ours = logging.getLogger(), logging.getLogger("gradus")
    before = root.level, ours.level, list(root.handlers)
    yield
    for handler in [handler for handler in root.handlers if isinstance(handler, BackgroundHandler)]:
        root.removeHandler(handler)
    root.setLevel(before[0])
    ours.setLevel(before[1])
    assert root.handlers == before[2]


def test_a_json_line_is_one_object_with_the_fields_in_it():
    fields = {"status": 200, "route": 'a "b"\nc', "ttft_ms": 1.5}
    line = JsonFormatter().format(record(fields=fields))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2001-09-09T01:46:40.250Z",
        "level": "info",
        "logger": "gradus.test",
        "message": "request",
        **fields,
    }
    assert "ValueError: no" in json.loads(JsonFormatter().format(record(error=ValueError("no"))))["exception"]


def test_a_line_of_text_cannot_be_broken_by_a_value():
    fields = {"status": 200, "route": "GET /x\n2001-01-01 INFO forged", "empty": "", "esc": "\x1b[2J"}
    line = TextFormatter().format(record(fields=fields))
    assert "\n" not in line
    assert "\x1b" not in line
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.250 INFO request status=200 route=\"GET ", line)
    assert 'empty=""' in line
    assert TextFormatter().format(record(error=ValueError("no"))).endswith("ValueError: no")


def test_a_line_of_text_cannot_be_broken_by_a_name():
    """Those of gRPC's metadata.extra are the client's."""
    assert TextFormatter().format(record(fields={"extra.a\n2001-01-01 INFO": "x"})).count("\n") == 0


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["d", "i", "w"]), ("info", ["i", "w"]), ("warning", ["w"]), ("error", [])],
)
def test_the_level_is_that_of_this_program_and_others_only_warn(restored, monkeypatch, level, expected):
    monkeypatch.setattr(logs, "_CLOSE_SECONDS", 30)
    stream = io.StringIO()
    configure_logging(level, "json", stream)
    configure_logging(level, "json", stream)  # again: nothing is written twice
    ours, other = logging.getLogger("gradus.test"), logging.getLogger("another.library")
    ours.debug("d")
    ours.info("i")
    ours.warning("w")
    other.info("no")
    other.warning("yes")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, BackgroundHandler):
            handler.close()
    messages = [json.loads(line)["message"] for line in stream.getvalue().splitlines()]
    assert messages == [*expected, "yes"]


def test_a_reader_that_does_not_read_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(logs, "_CLOSE_SECONDS", 30)
    monkeypatch.setattr(logs, "_MAX_QUEUED", 4)
    is_read, lines = threading.Event(), []

    class Stuck(io.StringIO):
        def write(self, text):
            is_read.wait(20)
            lines.append(text)
            return len(text)

    handler = BackgroundHandler(Stuck())
    handler.setFormatter(JsonFormatter())
    for i in range(50):
        handler.emit(record(f"line {i}"))
    is_read.set()
    handler.close()
    messages = [json.loads(line)["message"] for line in "".join(lines).splitlines()]
    (loss,) = [message for message in messages if "dropped" in message]
    num_dropped = int(re.match(r"(\d+) log lines were dropped", loss)[1])
    assert num_dropped + len(messages) - 1 == 50
    assert 4 <= 50 - num_dropped <= 5


@pytest.mark.parametrize("name", ["log_level", "log_format"])
def test_a_setting_that_is_none_is_refused_with_what_works(name):
    with pytest.raises(ConfigError, match=f"{name} is 'loud'; it must be"):
        ServerSettings(**{name: "loud"})
    with pytest.raises(ConfigError, match="trace_requests is -1"):
        ServerSettings(trace_requests=-1)
