"""`GET /debug/trace`: a valid Chrome trace of the last requests, and nothing that they said."""

import pytest

from tests.server.harness import say, serving

SECRET = "the password is swordfish"
KEYS = {"admin_api_key": ("boss",)}
ADMIN = {"x-api-key": "boss"}
PARTS = ["prepare", "queue", "prefill", "decode", "deliver"]


def traced(server):
    response = server.http.get("/debug/trace", headers=ADMIN)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    return response


def check_format(trace):
    """What the Trace Event Format asks of complete events and metadata, and that slices nest."""
    assert trace["displayTimeUnit"] == "ms"
    open_until = {}
    for event in trace["traceEvents"]:
        assert event["ph"] in ("X", "M")
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert event["args"]["name"]
            continue
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        stack = open_until.setdefault((event["pid"], event["tid"]), [])
        start, end = event["ts"], event["ts"] + event["dur"]
        while stack and stack[-1] <= start + 0.05:
            stack.pop()
        assert not stack or end <= stack[-1] + 0.05, "slices of a track overlap"
        stack.append(end)


def tracks(trace):
    """The slices of each request by its id, and the steps."""
    names = {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in trace["traceEvents"]
        if event["name"] == "thread_name"
    }
    found = {name: [] for name in names.values()}
    for event in trace["traceEvents"]:
        if event["ph"] == "X":
            found[names[event["pid"], event["tid"]]].append(event)
    return found


def test_requests_and_steps_have_tracks_and_no_text():
    with serving(say(SECRET), **KEYS) as server:
        for name in ("one", "two"):
            body = {"prompt": SECRET, "max_tokens": 30, "stop": "zzz"}
            server.post("/v1/completions", body, headers={"x-request-id": name})
        server.wait_until_idle()
        num_steps = server.engine.stats().num_steps
        response = traced(server)
    trace = response.json()
    check_format(trace)
    found = tracks(trace)
    assert set(found) == {"one", "two", "steps"}
    for name in ("one", "two"):
        whole, *parts = found[name]
        assert whole["name"] == "request"
        assert whole["args"]["route"] == "POST /v1/completions"
        assert whole["args"]["finish_reason"] == "stop"
        assert [part["name"] for part in parts] == PARTS
        assert sum(part["dur"] for part in parts) == pytest.approx(whole["dur"], abs=0.5)
    assert found["one"][0]["ts"] < found["two"][0]["ts"]
    assert len(found["steps"]) == num_steps
    assert all(step["args"]["requests"] == 1 for step in found["steps"])
    for word in SECRET.split():
        assert word not in response.text.replace('"', " ").split()


def test_only_the_last_requests_are_kept():
    with serving(say("yes"), trace_requests=3, **KEYS) as server:
        for i in range(5):
            server.post("/v1/completions", {"prompt": "Hi"}, headers={"x-request-id": f"r{i}"})
        found = tracks(traced(server).json())
    assert set(found) == {"r2", "r3", "r4", "steps"}


def test_an_empty_trace_is_valid():
    with serving(say("yes"), **KEYS) as server:
        check_format(traced(server).json())


def test_traces_can_be_off():
    with serving(say("yes"), trace_requests=0, **KEYS) as server:
        server.post("/v1/completions", {"prompt": "Hi"})
        response = server.http.get("/debug/trace", headers=ADMIN)
    assert response.status_code == 404
    assert "--trace-requests" in response.json()["error"]["message"]
