"""Engines in processes of their own: a fake runner and our own server."""

import sys
import time
from pathlib import Path

import pytest

from gradus.bench.peers.endpoint import PeerError, RunnerEndpoint, ServerEndpoint
from gradus.bench.peers.sides import RUNNERS

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
        if command["options"].get("die"):
            sys.stderr.write("out of luck")
            sys.stderr.flush()
            os._exit(3)
        if command["options"].get("fail"):
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
    script.write_text(FAKE.format(runners=str(RUNNERS)))
    # Isolated: the protocol must do without Gradus and whatever is installed beside it.
    endpoint = RunnerEndpoint([sys.executable, "-I", str(script)], {"model": "m"})
    yield endpoint
    endpoint.close()


def test_a_runner_answers_in_lines_of_json_whatever_its_libraries_print(fake):
    assert fake.software == {"fake": "m"}
    run = fake.run([[1, 2], [3]], 7, 2, {})
    assert [r.num_prompt_tokens for r in run.requests] == [2, 1]
    assert run.num_output_tokens == 14
    assert fake.peak_memory() > 1 << 20
    assert fake.started < time.perf_counter()


def test_between_runs_the_process_is_stopped(fake):
    assert state(fake) == "T"
    fake.run([[1]], 1, 1, {})
    assert state(fake) == "T"


def state(endpoint):
    """Of the process: T is stopped. Source: proc(5)."""
    return Path(f"/proc/{endpoint._process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_failure_is_told_and_the_runner_lives_on(fake):
    with pytest.raises(PeerError, match="ValueError: a reason"):
        fake.run([[1]], 1, 1, {"fail": True})
    assert fake.run([[1]], 1, 1, {}).num_output_tokens == 1


def test_a_death_is_reported_with_its_last_words(fake):
    with pytest.raises(PeerError, match=r"ended with 3: .*out of luck"):
        fake.run([[1]], 1, 1, {"die": True})


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
        run = endpoint.run([[5, 6, 7], [8, 9]], 6, 2, {})
        assert [(r.num_prompt_tokens, r.num_output_tokens) for r in run.requests] == [(3, 6), (2, 6)]
    finally:
        endpoint.close()


def test_a_server_that_does_not_start_is_reported():
    with pytest.raises(PeerError, match="ended with 2"):
        ServerEndpoint(
            [sys.executable, "-m", "gradus", "serve", "demo", "--block-size", "16", "--no-such"], {}
        )
