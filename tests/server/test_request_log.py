"""The log of a server at work: one line per request, under the id that the client knows, without text."""

import json
import logging
import time

import httpx
import pytest

from tests.server.harness import say, serving

SECRET = "swordfish"
ANSWER = "certainly not"


@pytest.fixture
def log(caplog):
    """The fields of the records of requests, by message."""
    caplog.set_level(logging.DEBUG, logger="gradus")

    def read(message="request"):
        return [
            (record.levelname, record.fields) for record in caplog.records if record.getMessage() == message
        ]

    return read


@pytest.mark.parametrize("stream", [False, True])
def test_a_generating_request_has_one_line_that_sums_it_up(log, stream):
    with serving(say(ANSWER)) as server:
        body = {"messages": [{"role": "user", "content": SECRET}], "stream": stream}
        response = server.post("/v1/chat/completions", body, headers={"x-request-id": "my-id"})
        usage = server.post("/v1/chat/completions", {**body, "stream": False}).json()["usage"]
    assert response.headers["x-request-id"] == "my-id"
    ((level, fields), _) = log()
    assert level == "INFO"
    assert fields.pop("ttft_ms") <= fields.pop("e2e_ms")
    assert fields == {
        "request_id": "my-id",
        "route": "POST /v1/chat/completions",
        "status": 200,
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "finish_reason": "stop",
    }
    level, timings = log("timings")[0]
    assert level == "DEBUG"
    assert timings["request_id"] == "my-id"
    assert timings["steps"] == usage["completion_tokens"]


def test_a_refusal_is_logged_with_its_reason_and_a_look_at_the_server_only_for_debugging(log):
    with serving(say(ANSWER), max_queued_requests=0) as server:
        server.post("/v1/completions", {"prompt": "Hi"})
        server.post("/v1/completions", {"prompt": "Hi", "top_p": 7})
        server.http.get("/health")
    lines = [(level, fields["route"], fields["status"], fields.get("error")) for level, fields in log()]
    assert lines == [
        ("INFO", "POST /v1/completions", 429, "queue_full"),
        ("INFO", "POST /v1/completions", 400, "invalid_value"),
        ("DEBUG", "GET /health", 200, None),
    ]


def test_a_client_that_left_has_its_line(log, endless):
    body = {"prompt": "Hi", "max_tokens": 900, "stream": True}
    headers = {"x-request-id": "left"}
    with httpx.stream("POST", f"{endless.url}/v1/completions", json=body, headers=headers) as response:
        next(response.iter_lines())
    deadline = time.monotonic() + 30
    while not log():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    ((_, fields),) = log()
    assert fields["request_id"] == "left"
    assert fields["finish_reason"] == "abort"
    assert 0 < fields["completion_tokens"] < 900


@pytest.mark.parametrize("log_prompts", [False, True])
def test_what_is_said_is_logged_only_if_the_operator_wants_it(log, caplog, log_prompts):
    with serving(say(ANSWER), log_prompts=log_prompts) as server:
        server.post("/v1/completions", {"prompt": SECRET, "user": SECRET}, headers={"x-request-id": "my-id"})
        server.post(f"/v1/{SECRET}?key={SECRET}", {SECRET: SECRET})
        server.post("/v1/completions", {"prompt": [[SECRET]]})
    prompts = [fields for _, fields in log("prompt")]
    assert prompts == ([{"request_id": "my-id", "prompt": SECRET}] if log_prompts else [])
    told = [
        json.dumps([record.getMessage(), record.fields])
        for record in caplog.records
        if record.name.startswith("gradus") and record.getMessage() != "prompt"
    ]
    assert told
    assert not any(ANSWER in line for line in told)
    # The path of a request is the only thing of a client's making in a line.
    assert all(f"POST /v1/{SECRET}" in line for line in told if SECRET in line)
    assert not any("key=" in line for line in told)


def test_a_line_names_the_client_whose_key_it_was_and_never_the_key(log, tmp_path):
    keys = tmp_path / "keys.yaml"
    keys.write_text("[{name: alice, key: sesame}]")
    with serving(say(ANSWER), api_key_file=str(keys)) as server:
        for key in ("sesame", "swordfish"):
            server.post("/v1/completions", {"prompt": "Hi"}, headers={"x-api-key": key})
        server.http.get("/health")
    lines = [(fields["status"], fields.get("client")) for _, fields in log()]
    assert lines == [(200, "alice"), (401, None), (200, None)]
    assert "sesame" not in str(log())


def test_whoever_is_refused_is_logged_with_the_address(log):
    """A wrong key, a key that is no admin's, and one that has used what it may."""
    keys = {"api_key": ("open",), "admin_api_key": ("sesame",), "key_requests_per_minute": 1}
    with serving(say(ANSWER), **keys) as server:
        for key, status in (("wrong", 401), ("open", 403), ("sesame", 200)):
            headers = {"authorization": f"Bearer {key}"}
            assert server.http.get("/debug/trace", headers=headers).status_code == status
        for status in (200, 429):
            response = server.post("/v1/completions", {"prompt": "Hi"}, headers={"x-api-key": "open"})
            assert response.status_code == status
    told = [(fields["status"], fields.get("client"), fields.get("address")) for _, fields in log()]
    assert told == [
        (401, None, "127.0.0.1"),
        (403, None, "127.0.0.1"),
        (200, "admin-1", None),
        (200, "api-1", None),
        (429, "api-1", "127.0.0.1"),
    ]
