"""`gradus serve` as a user starts it: a process of its own, the native backend, and the `openai` client."""

import json
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from gradus import LLM, SamplingParams

TEXTS = [
    "Hello",
    "The quick brown fox",
    "你好，世界！",
    "👩‍👩‍👧‍👦 family",
    "def f(x):\n",
    "1 2 3 4 5 6 7 8 9",
]


@pytest.fixture(scope="module")
def server(tiny_model_path):
    """A running server's base URL; at the end it has to stop cleanly on SIGTERM."""
    command = [sys.executable, "-m", "gradus", "serve", str(tiny_model_path), "--port", "0"]
    command += ["--served-model-name", "tiny", "--max-num-seqs", "8", "--max-num-batched-tokens", "48"]
    command += ["--log-format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first_line = process.stdout.readline()
        found = re.search(r"http://\S+/v1", first_line)
        assert found, first_line + process.stderr.read()
        yield found.group()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM), errors
        assert "Traceback" not in errors
        messages = [json.loads(line)["message"] for line in errors.splitlines()]
        assert re.search(r"weights \d+ MiB, KV cache [\d,]+ tokens", messages[0])
    finally:
        process.kill()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server, api_key="none", max_retries=0)


def draw_request(rng: random.Random) -> dict:
    return {
        "prompt": " ".join(rng.choices(TEXTS, k=rng.randint(1, 6))),
        "max_tokens": rng.randint(1, 60),
        "temperature": rng.choice([0, 0.8, 1.3]),
        "top_p": rng.choice([1, 0.9]),
        "seed": rng.randrange(2**40),
        "n": rng.choice([1, 1, 2]),
    }


def test_under_a_random_load_every_stream_equals_the_request_alone(client, tiny_model_path):
    """Streamed among 32 others, and computed alone in this process: the same text, choice by choice."""
    rng = random.Random(5)
    requests = [draw_request(rng) for _ in range(96)]

    def stream(request: dict) -> list[str]:
        texts = [""] * request["n"]
        for chunk in client.completions.create(model="tiny", stream=True, **request):
            texts[chunk.choices[0].index] += chunk.choices[0].text
        return texts

    with ThreadPoolExecutor(32) as pool:
        streamed = list(pool.map(stream, requests))
    with LLM(model=str(tiny_model_path)) as llm:
        for request, texts in zip(requests, streamed, strict=True):
            fields = dict(request)
            (alone,) = llm.generate(fields.pop("prompt"), SamplingParams(**fields))
            assert [choice.text for choice in alone.outputs] == texts


def test_a_port_in_use_is_said_at_once(server, tiny_model_path):
    port = server.split(":")[2].split("/")[0]
    command = [sys.executable, "-m", "gradus", "serve", str(tiny_model_path), "--port", port]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert port in refused.stderr
    assert "Traceback" not in refused.stderr


def test_logs_are_json_and_quiet_about_prompts_and_metrics_can_be_off(tiny_model_path):
    command = [sys.executable, "-m", "gradus", "serve", str(tiny_model_path), "--port", "0", "--no-metrics"]
    command += ["--log-format", "json", "--log-level", "debug", "--trace-requests", "0"]
    command += ["--admin-api-key", "root"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://\S+(?=/v1)", process.stdout.readline()).group()
        body = {"prompt": "swordfish", "max_tokens": 3}
        httpx.post(f"{url}/v1/completions", json=body, headers={"x-request-id": "mine"}, timeout=60)
        for path in ("/metrics", "/debug/trace"):
            assert httpx.get(url + path, headers={"x-api-key": "root"}, timeout=60).status_code == 404
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    told = {line["message"]: line for line in lines if line.get("request_id") == "mine"}
    assert told["request"]["completion_tokens"] == told["timings"]["completion_tokens"] == 3
    assert "swordfish" not in errors
