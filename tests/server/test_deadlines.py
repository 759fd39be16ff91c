"""Deadlines: a request that is not complete in time ends with a typed error, and is gone from the engine."""

import json

import httpx
import pytest

from tests.server.harness import serving

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


def forever(tokenizer, context, choice):
    return 45


@pytest.fixture(scope="module")
def slow():
    """20 ms a step; a request may take 2 seconds."""
    with serving(forever, delay=0.02, request_timeout=2.0) as running:
        yield running


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_a_whole_answer_is_a_504_that_no_client_repeats_by_itself(slow, path):
    prompt = {"prompt": "Hi"} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "Hi"}]}
    refused = slow.post(path, prompt | {"max_tokens": 900, "timeout": 0.3})
    assert refused.status_code == 504
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("timeout_error", "deadline_exceeded")
    assert "0.3 seconds" in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    slow.wait_until_idle()


def test_a_stream_ends_with_the_error_after_what_was_in_time(slow):
    body = {"prompt": ["Hi", "Ho"], "max_tokens": 900, "stream": True, "timeout": 0.4}
    with httpx.stream("POST", slow.url + COMPLETIONS, json=body, timeout=30) as response:
        events = [line for line in response.iter_lines() if line]
    assert len(events) > 4
    assert "choices" in json.loads(events[0][6:])
    assert json.loads(events[-1][6:])["error"]["code"] == "deadline_exceeded"
    slow.wait_until_idle()


def test_waiting_counts_and_the_servers_limit_is_the_most(slow):
    slow.backend.gate.clear()
    try:
        refused = slow.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 2, "timeout": 60})
    finally:
        slow.backend.gate.set()
    assert refused.status_code == 504
    assert "2 seconds" in refused.json()["error"]["message"]
    slow.wait_until_idle()


def test_in_time_is_in_time(slow):
    answer = slow.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 3, "timeout": 30})
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("timeout", [0, -1, "soon", True, 1e400])
def test_a_time_that_is_none_is_refused(slow, timeout):
    raw = json.dumps({"prompt": "Hi", "timeout": timeout}).replace("Infinity", "1e999")
    refused = slow.http.post(COMPLETIONS, content=raw, headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "timeout"
