"""Engines in processes of their own: a fake runner and our own server."""

import sys
import time
from pathlib import Path

import pytest

from gradus.bench.peers.endpoint import PeerError, RunnerEndpoint, ServerEndpoint
from gradus.bench.peers.sides import RUNNERS
from gradus.errors import RequestFailedError

DIE, FAIL = [7], [9]  # prompts that make the fake end, and fail
FAKE = """
import os, sys
sys.path.insert(0, {runners!r})
from peer_protocol import serve

class Fake:
    def load(self, command):
        print("a library's chatter")  # must not be taken for an answer
        os.write(1, b"more of it\\n")
        return {{"fake": command["model"]}}

    def run(self, command):
        if command["prompts"] == [{die}]:
            sys.stderr.write("out of luck")
            sys.stderr.flush()
            os._exit(3)
        if command["prompts"] == [{fail}]:
            raise ValueError("a reason")
        return [
            {{"start": 0.0, "first_token": 1.0, "end": 2.0, "num_prompt_tokens": len(prompt),
              "num_output_tokens": command["output_len"]}}
            for prompt in command["prompts"]
        ]

serve(Fake())
"""


@pytest.fixture
def fake(tmp_path):
    script = tmp_path / "fake.py"
    script.write_text(FAKE.format(runners=str(RUNNERS), die=DIE, fail=FAIL))
    # Isolated: the protocol must do without Gradus and whatever is installed beside it.
    endpoint = RunnerEndpoint([sys.executable, "-I", str(script)], {"model": "m"})
    yield endpoint
    endpoint.close()


def test_a_runner_answers_in_lines_of_json_whatever_its_libraries_print(fake):
    assert fake.software == {"fake": "m"}
    run = fake.run([[1, 2], [3]], 7, 2)
    assert [r.num_prompt_tokens for r in run.requests] == [2, 1]
    assert run.num_output_tokens == 14
    assert fake.peak_memory() > 1 << 20
    assert fake.started < time.perf_counter()


def test_between_runs_the_process_is_stopped(fake):
    assert state(fake) == "T"
    fake.run([[1]], 1, 1)
    assert state(fake) == "T"


def state(endpoint):
    """Of the process: T is stopped. Source: proc(5)."""
    return Path(f"/proc/{endpoint._process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_failure_is_told_and_the_runner_lives_on(fake):
    with pytest.raises(PeerError, match="ValueError: a reason"):
        fake.run([FAIL], 1, 1)
    assert fake.run([[1]], 1, 1).num_output_tokens == 1


def test_a_death_is_reported_with_its_last_words(fake):
    with pytest.raises(PeerError, match=r"ended with 3: .*out of luck"):
        fake.run([DIE], 1, 1)


def test_our_server_is_driven_over_http():
    command = [
        sys.executable,
        "-m",
        "gradus",
        "serve",
        "demo",
        "--no-prefix-caching",
        "--max-model-len",
        "64",
    ]
    endpoint = ServerEndpoint(command, {})
    try:
        run = endpoint.run([[5, 6, 7], [8, 9]], 6, 2)
        assert [(r.num_prompt_tokens, r.num_output_tokens) for r in run.requests] == [(3, 6), (2, 6)]
    finally:
        endpoint.close()


# Refuses the prompt [13], a second request on one connection, and bodies without its own field; of the prompt
# [14] it counts a token too few. Each token is an event; what is in flight at most is in the text.
SERVER = """
import json, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    health_checks = in_flight = 0
    lock = threading.Lock()

    def setup(self):
        super().setup()
        self.is_used = False

    def do_GET(self):
        Handler.health_checks += 1
        self.answer(200 if Handler.health_checks > 2 else 503, b"")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.lock:
            Handler.in_flight += 1
            is_crowded = Handler.in_flight > 2
        time.sleep(0.02)
        prompt, count = body["prompt"], body["max_tokens"]
        ours = body.get("own") is True and body["ignore_eos"] and body["stream"] and not body["temperature"]
        if prompt == [13] or self.is_used or is_crowded or not ours:
            self.answer(400, f"not so: {self.is_used} {is_crowded} {body}".encode())
        else:
            usage = {"prompt_tokens": len(prompt), "completion_tokens": count - (prompt == [14])}
            events = [{"choices": [{"text": "x"}]}] * count + [{"choices": [], "usage": usage}]
            lines = [b"data: " + json.dumps(event).encode() for event in events] + [b"data: [DONE]"]
            self.answer(200, b"\\n\\n".join(lines) + b"\\n\\n")
        self.is_used = True
        with self.lock:
            Handler.in_flight -= 1

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def served():
    endpoint = ServerEndpoint([sys.executable, "-I", "-c", SERVER], {"own": True})
    yield endpoint
    endpoint.close()


def test_a_server_gets_so_many_requests_at_a_time_each_on_a_connection_of_its_own(served):
    prompts = [[1], [2, 2], [3], [4], [5, 5, 5]]
    run = served.run(prompts, 5, 2)
    assert [(r.num_prompt_tokens, r.num_output_tokens) for r in run.requests] == [
        (len(prompt), 5) for prompt in prompts
    ]
    for request in run.requests:
        assert 0 <= request.start < request.first_token <= request.end
    assert served.started < served.ready


def test_what_a_server_refuses_or_counts_otherwise_is_no_measurement(served):
    with pytest.raises(RequestFailedError, match="status 400: not so"):
        served.run([[1], [13]], 5, 2)
    with pytest.raises(RequestFailedError, match="asked for 5 tokens, the server counts 4"):
        served.run([[14]], 5, 1)


def test_a_server_that_does_not_start_is_reported():
    with pytest.raises(PeerError, match="ended with 2"):
        ServerEndpoint(
            [sys.executable, "-m", "gradus", "serve", "demo", "--block-size", "16", "--no-such"], {}
        )
