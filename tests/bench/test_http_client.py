"""The streaming client against a server that says what the test wants it to say."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gradus.bench.http_client import is_healthy, run_over_http
from gradus.errors import RequestFailedError


class Scripted(BaseHTTPRequestHandler):
    """Streams `usage` tokens in two chunks, or refuses; notes what it was asked."""

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_response(200 if self.server.healthy else 503)
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
        time.sleep(0.02)
        if body["prompt"] == [13]:
            self.send_response(400)
            self.end_headers()
            self.wfile.write(b"not thirteen")
        else:
            self.send_response(200)
            self.end_headers()
            for text in ("a", "bc"):
                self._event({"choices": [{"text": text}]})
            self._event({"choices": [], "usage": {"completion_tokens": self.server.usage}})
            self.wfile.write(b"data: [DONE]\n\n")
        with self.server.lock:
            self.server.now -= 1

    def _event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.lock, server.bodies, server.now, server.most = threading.Lock(), [], 0, 0
    server.usage, server.healthy = 5, True
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_requests_are_streamed_so_many_at_a_time_and_counted_by_the_servers_usage(server):
    prompts = [[1], [2, 2], [3], [4], [5], [6]]
    run = run_over_http(server.url, prompts, 5, 2, {"cache_prompt": False})
    assert server.most == 2
    assert [body["prompt"] for body in sorted(server.bodies, key=lambda b: b["prompt"])] == prompts
    for body in server.bodies:
        assert body["cache_prompt"] is False
        assert (body["max_tokens"], body["temperature"], body["stream"], body["ignore_eos"]) == (
            5,
            0,
            True,
            True,
        )
    assert [(r.num_prompt_tokens, r.num_output_tokens) for r in run.requests] == [
        (len(prompt), 5) for prompt in prompts
    ]
    for request in run.requests:
        assert 0 <= request.start < request.first_token <= request.end


def test_a_refusal_names_status_and_reason(server):
    with pytest.raises(RequestFailedError, match=r"400.*not thirteen"):
        run_over_http(server.url, [[13]], 5, 1, {})


def test_another_number_of_tokens_is_no_measurement(server):
    server.usage = 4
    with pytest.raises(RequestFailedError, match="asked for 5 tokens, the server counts 4"):
        run_over_http(server.url, [[1]], 5, 1, {})


def test_health_is_what_the_server_says_and_false_where_there_is_none(server):
    assert is_healthy(server.url)
    server.healthy = False
    assert not is_healthy(server.url)
    assert not is_healthy("http://127.0.0.1:9")
