"""A server process as the command line starts it: ready line, signals, exit status."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
from gradus.server.run import base_url, bind, preload, run
from gradus.server.settings import ServerSettings

settings = ServerSettings(port=0, shutdown_timeout=2)
listener = bind(settings)
preload(settings)
from tests.server.harness import toy_service
service = toy_service(lambda *_: 45, delay=0.01)
run(service, settings, listener, lambda _: print(base_url(listener), flush=True))
print("stopped in order", flush=True)
"""


@pytest.fixture
def process():
    started = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    yield started
    started.kill()
    started.communicate()


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
        process.communicate(timeout=5)
    assert process.returncode is not None
