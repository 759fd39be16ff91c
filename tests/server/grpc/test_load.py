"""`gradus serve` as a user starts it, and a hundred streams at once."""

import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from tests.server.grpc.harness import GrpcClient, texts_of

NUM_STREAMS = 100
TEXTS = ["Hello", "The quick brown fox", "你好，世界！", "👩‍👩‍👧‍👦 family", "def f(x):\n"]


@pytest.fixture(scope="module")
def addresses(tiny_model_path):
    """HTTP's base URL and gRPC's address of a server process, which has to stop cleanly on SIGTERM."""
    command = [
        sys.executable,
        "-m",
        "gradus",
        "serve",
        str(tiny_model_path),
        "--port",
        "0",
        "--grpc-port",
        "0",
    ]
    command += ["--served-model-name", "tiny", "--max-num-seqs", "32"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = address = None
        while address is None:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            url = url or re.search(r"http://\S+/v1", line)
            address = re.match(r"gRPC is served at (\S+)", line)
        yield url.group(), address.group(1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (0, -signal.SIGTERM), errors
        assert "Traceback" not in errors
        assert "add_port" not in errors
    finally:
        process.kill()


def draw(rng):
    return {
        "prompt": " ".join(rng.choices(TEXTS, k=rng.randint(1, 6))),
        "max_tokens": rng.randint(1, 50),
        "temperature": rng.choice([0, 0.8, 1.3]),
        "seed": rng.randrange(2**40),
    }


def test_a_hundred_streams_at_once_equal_the_whole_answers(addresses, generated):
    """Half of them alone in their call, half of them ten to a call; all against HTTP without streaming."""
    url, address = addresses
    rng = random.Random(7)
    drawn = [draw(rng) for _ in range(NUM_STREAMS)]
    with httpx.Client(timeout=60) as http:
        whole = [http.post(f"{url}/completions", json=body).json()["choices"][0]["text"] for body in drawn]
    with grpc.insecure_channel(address) as channel:
        client = GrpcClient(channel, *generated)

        def request(i):
            fields = dict(drawn[i])
            fields["max_new_tokens"] = fields.pop("max_tokens")
            return client.request(fields.pop("prompt"), trace_id=str(i), **fields)

        alone = [[request(i)] for i in range(NUM_STREAMS // 2)]
        shared = [[request(j) for j in range(i, i + 10)] for i in range(NUM_STREAMS // 2, NUM_STREAMS, 10)]
        with ThreadPoolExecutor(len(alone) + len(shared)) as pool:
            calls = list(pool.map(lambda requests: client.predict(*requests), alone + shared))
    streamed = {trace_id: text for responses in calls for trace_id, text in texts_of(responses).items()}
    assert streamed == {str(i): text for i, text in enumerate(whole)}
    assert not any(response.HasField("error") for responses in calls for response in responses)


def test_a_form_holds_over_grpc_as_over_http(addresses, generated):
    url, address = addresses
    form = {"choice": ["yes", "no", "perhaps"]}
    with grpc.insecure_channel(address) as channel:
        client = GrpcClient(channel, *generated)
        for seed in range(3):
            fields = {"temperature": 1.0, "seed": seed}
            request = client.request(structured_outputs=client.pb.StructuredOutputs(**form), **fields)
            (text,) = texts_of(client.predict(request)).values()
            assert text in form["choice"]
            body = {"prompt": "Hi", "max_tokens": 50, "structured_outputs": form, **fields}
            answer = httpx.post(f"{url}/completions", json=body, timeout=60).json()
            assert text == answer["choices"][0]["text"]
