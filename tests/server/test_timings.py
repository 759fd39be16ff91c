"""`"timings": true`: the parts add up, and the counts are what the request did."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.harness import say, serving

PARTS = ("prepare_ms", "queue_ms", "prefill_ms", "decode_ms", "deliver_ms")
LONG = "A prompt of several blocks of sixteen tokens each, so that some of it can be cached"
BODIES = {
    "/v1/completions": {"prompt": LONG},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": LONG}]},
}
STEP = 0.01  # seconds


@pytest.fixture(scope="module")
def slow():
    """A model that never ends, at 10 ms a step."""
    with serving(lambda tokenizer, context, choice: 45, delay=STEP) as running:
        yield running


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def events(response):
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("path", BODIES)
def test_a_whole_answer_has_them_if_asked(slow, path):
    body = {**BODIES[path], "max_tokens": 5}
    assert "timings" not in slow.post(path, body).json()
    answer = slow.post(path, {**body, "timings": True}).json()
    timings, usage = answer["timings"], answer["usage"]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0
    assert timings["cached_prompt_tokens"] == cached
    assert timings["computed_prompt_tokens"] == usage["prompt_tokens"] - cached
    assert timings["completion_tokens"] == timings["steps"] == 5
    assert timings["mean_co_batch"] == 1.0
    assert timings["preemptions"] == 0
    assert "grammar_ms" not in timings
    assert sum(timings[part] for part in PARTS) == pytest.approx(timings["total_ms"], abs=0.01)
    assert timings["prefill_ms"] >= STEP * 1e3
    assert timings["decode_ms"] >= 4 * STEP * 1e3


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("include_usage", [False, True])
def test_a_stream_has_them_in_its_last_chunk(slow, path, include_usage):
    body = {**BODIES[path], "max_tokens": 4, "stream": True, "timings": True}
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    *others, last = events(slow.post(path, body))
    assert all("timings" not in chunk for chunk in others)
    assert last["choices"] == []
    assert ("usage" in last) == include_usage
    timings = last["timings"]
    assert timings["completion_tokens"] == 4
    assert sum(timings[part] for part in PARTS) == pytest.approx(timings["total_ms"], abs=0.01)
    assert timings["flush_ms"] > 0


def test_a_stream_that_asks_for_neither_has_no_such_chunk(slow):
    chunks = events(slow.post("/v1/completions", {"prompt": "Hi", "max_tokens": 2, "stream": True}))
    assert all(chunk["choices"] for chunk in chunks)


def test_company_shows_in_the_mean_co_batch(slow):
    """Four requests that begin in one step and have the same length share every step."""
    slow.backend.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        blocker = pool.submit(slow.post, "/v1/completions", {"prompt": "first", "max_tokens": 1})
        wait_for(lambda: slow.engine.stats().num_running == 1)
        body = {"prompt": ["a", "b", "c", "d"], "max_tokens": 6, "timings": True}
        answer = pool.submit(slow.post, "/v1/completions", body)
        wait_for(lambda: slow.engine.stats().num_waiting + slow.engine.stats().num_running == 5)
        slow.backend.gate.set()
        timings = answer.result().json()["timings"]
        blocker.result()
    assert timings["steps"] == 4 * 6
    assert timings["mean_co_batch"] == 4.0
    assert timings["queue_ms"] > 0


def test_time_in_the_queue_and_time_in_a_step_are_told_apart():
    """While the first request's step hangs, a second one arrives."""
    hung = 0.05
    with serving(say("yes")) as server:
        server.backend.gate.clear()
        body = {"prompt": "Hi", "max_tokens": 2, "timings": True}
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.post, "/v1/completions", body)
            wait_for(lambda: server.engine.stats().num_running == 1)
            second = pool.submit(server.post, "/v1/completions", body)
            wait_for(lambda: server.engine.stats().num_waiting == 1)
            time.sleep(hung)
            server.backend.gate.set()
            timings = [future.result().json()["timings"] for future in (first, second)]
    assert timings[0]["prefill_ms"] >= hung * 1e3
    assert timings[1]["queue_ms"] >= hung * 1e3


def test_a_preempted_request_says_so():
    with serving(lambda *_: 45, num_blocks=6, max_model_len=90, delay=0.002) as server:
        body = {"prompt": ["1", "2", "3"], "max_tokens": 60, "timings": True}
        timings = server.post("/v1/completions", body).json()["timings"]
        assert timings["preemptions"] == server.engine.stats().num_preemptions > 0
    assert sum(timings[part] for part in PARTS) == pytest.approx(timings["total_ms"], abs=0.01)


def test_it_must_be_a_boolean(slow):
    response = slow.post("/v1/completions", {"prompt": "Hi", "timings": "yes"})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "timings"
