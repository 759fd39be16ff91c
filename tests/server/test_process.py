"""A server process as the command line starts it: ready line, signals, exit status, and a Unix socket."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
from gradus.server.run import base_url, bind, preload, run
from gradus.server.settings import ServerSettings

settings = ServerSettings(**{"port": 0, "shutdown_timeout": 2, **json.loads(sys.argv[1])})
listener = bind(settings)
preload(settings)
from tests.server.harness import toy_service
service = toy_service(lambda *_: 45, delay=0.01, settings=settings)
run(service, settings, listener, lambda _: print(base_url(listener), flush=True))
print("stopped in order", flush=True)
"""


@pytest.fixture
def start():
    """Starts a server; what it prints first is its URL."""
    started = []

    def start_one(**settings):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(settings)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def process(start):
    return start()


@pytest.mark.parametrize("name", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_streams_with_an_error_and_the_process_with_success(process, name):
    url = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    body = {"prompt": "Hi", "max_tokens": 900, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        process.send_signal(name)
        time.sleep(0.2)
        refused = httpx.post(f"{url}/v1/completions", json=body)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "shutting_down"
        assert int(refused.headers["retry-after"]) > 0
        health = httpx.get(f"{url}/health")
        assert (health.status_code, health.json()["error"]["code"]) == (503, "shutting_down")
        last = [line for line in lines if line][-1]
    assert "shutting down" in last
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == "stopped in order\n"
    assert err == ""


def test_a_second_signal_does_not_wait(process):
    url = process.stdout.readline().strip()
    body = {"prompt": "Hi", "max_tokens": 900, "stream": True}
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=30) as response:
        next(response.iter_lines())
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode is not None


class Asker(threading.Thread):
    """Sends one request after another and notes how each ended, until the server has gone."""

    def __init__(self, url, stream, max_tokens):
        super().__init__(daemon=True)
        self.url, self.stream = url, stream
        self.body = {"prompt": "Hi", "max_tokens": max_tokens, "stream": stream}
        self.endings = []
        self.refusals_after_the_end = 0

    def run(self):
        with httpx.Client(timeout=30) as client:
            while not self.endings or self.endings[-1] != "gone":
                self.endings.append(self.ask(client))
                if self.endings[-1] == "shutting_down":
                    time.sleep(0.05)

    def ask(self, client):
        has_begun = False
        try:
            with client.stream("POST", self.url, json=self.body) as response:
                has_begun = True
                lines = [line for line in response.iter_lines() if line]
        except httpx.TransportError as error:
            # Before an answer has begun, the server is gone, or ends a kept connection that it did not read.
            return f"cut: {error!r}" if has_begun else "gone"
        if response.status_code == 200 and self.stream:
            return self.ending_of([line.removeprefix("data: ") for line in lines])
        return "done" if response.status_code == 200 else json.loads("".join(lines))["error"]["code"]

    @staticmethod
    def ending_of(events):
        """The stream's one ending: its last event, and no other one."""
        ends = [event for event in events if event == "[DONE]" or "error" in json.loads(event)]
        finishes = [
            e for e in events if e != "[DONE]" and json.loads(e).get("choices", [{}])[0].get("finish_reason")
        ]
        if len(ends) != 1 or events[-1] != ends[0]:
            return f"{len(ends)} endings"
        if ends[0] == "[DONE]":
            return "done" if len(finishes) == 1 else f"{len(finishes)} finishes"
        return json.loads(ends[0])["error"]["code"] if not finishes else "finished and failed"


def test_a_signal_under_load_gives_every_request_exactly_one_ending(start):
    """24 clients, streaming or not, with answers shorter and longer than the time that is left."""
    process = start(shutdown_timeout=1.5)
    url = process.stdout.readline().strip() + "/v1/completions"
    askers = [Asker(url, stream=i % 2 == 0, max_tokens=(5, 20, 900)[i % 3]) for i in range(24)]
    for asker in askers:
        asker.start()
    short = [asker for asker in askers if asker.body["max_tokens"] < 900]
    deadline = time.monotonic() + 60
    while not all(asker.endings for asker in short):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    for asker in askers:
        asker.join(60)
        assert not asker.is_alive()
    assert (process.returncode, out) == (0, "stopped in order\n"), err
    assert "Traceback" not in err
    endings = Counter(ending for asker in askers for ending in asker.endings)
    assert set(endings) <= {"done", "shutting_down", "gone"}, endings
    assert endings["done"] > 10
    assert endings["shutting_down"] > 5
    assert {asker.endings[0] for asker in short} == {"done"}


def test_a_unix_socket_is_served_and_removed(start, tmp_path):
    path = tmp_path / "gradus.sock"
    process = start(uds=str(path))
    assert process.stdout.readline() == "http://localhost\n"
    mode = os.stat(path).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o660
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost") as client:
        assert client.get("/health").json() == {"status": "ok"}
        body = {"prompt": "Hi", "max_tokens": 3}
        assert client.post("/v1/completions", json=body).json()["usage"]["completion_tokens"] == 3
    second = start(uds=str(path))
    _, err = second.communicate(timeout=60)
    assert second.returncode != 0
    assert "--uds" in err
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert not path.exists()


def test_a_socket_that_was_left_behind_is_replaced_and_another_file_is_not(start, tmp_path):
    path = tmp_path / "gradus.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert start(uds=str(path)).stdout.readline() == "http://localhost\n"
    file = tmp_path / "file"
    file.write_text("precious")
    refused = start(uds=str(file))
    refused.communicate(timeout=60)
    assert refused.returncode != 0
    assert file.read_text() == "precious"
