"""An OpenAI-compatible server that delays, lies, breaks off or refuses as a test says."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeServer(ThreadingHTTPServer):
    """Gives one piece of text per token. All its behaviours are attributes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.lock = threading.Lock()
        self.bodies = []
        self.models = [{"id": "fake"}]
        self.delay = 0.0  # seconds before the first token
        self.lie = 0  # added to the usage's completion_tokens
        self.prompt_lie = 0  # added to its prompt_tokens
        self.tokens_fewer = 0  # than asked for
        self.breaks_off = self.refuses = lambda number: False  # of requests, from 1
        self.has_metrics = True
        self.uncounted = 0  # tokens that /metrics leaves out
        self.prompt_tokens = self.generation_tokens = 0


@contextmanager
def fake_server(**behaviour):
    server = FakeServer()
    for name, value in behaviour.items():
        assert hasattr(server, name)
        setattr(server, name, value)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server
        if self.path == "/v1/models":
            self._answer(200, json.dumps({"data": server.models}))
        elif self.path == "/metrics" and server.has_metrics:
            counted = server.generation_tokens - (server.uncounted if server.generation_tokens else 0)
            self._answer(
                200,
                f"gradus:prompt_tokens_total {server.prompt_tokens}\n"
                f"gradus:generation_tokens_total {counted}\n",
            )
        else:
            self._answer(404, "")

    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.bodies.append(body)
            number = len(server.bodies)
        if server.refuses(number):
            self._answer(429, "too many")
            return
        self.send_response(200)
        self.end_headers()
        time.sleep(server.delay)
        count = body["max_tokens"] - server.tokens_fewer
        for _ in range(count):
            self._event({"choices": [{"text": "x", "finish_reason": None}]})
        if server.breaks_off(number):
            return
        prompt = len(body["prompt"]) + server.prompt_lie
        with server.lock:
            server.prompt_tokens += prompt
            server.generation_tokens += count
        self._event(
            {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": count + server.lie}}
        )
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, value):
        self.wfile.write(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())
