"""Keys from outside: what is answered without one, with a wrong one, and with the right one."""

import socket

import httpx
import openai
import pytest

from tests.server.harness import say, serving

CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def guarded():
    with serving(say("Hello."), api_key=("sesame",), admin_api_key=("root",)) as running:
        yield running


def paths_of(server):
    app = server.server.config.app
    routes = [route for route in app.routes if getattr(route, "methods", None)]
    routes += [
        r for each in app.routes for r in getattr(getattr(each, "original_router", None), "routes", [])
    ]
    return {(route.path, method) for route in routes for method in route.methods}


def test_every_route_but_health_needs_a_key(guarded):
    known = paths_of(guarded)
    assert (CHAT, "POST") in known
    unknown = {
        ("/", "GET"),
        ("/metrics", "GET"),
        ("/nope", "POST"),
        ("/debug/trace", "GET"),
        ("/health/", "GET"),
    }
    for path, method in sorted(known | unknown):
        path = path.replace("{name:path}", "toy")
        if path == "/health":
            continue
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"x-api-key": ""}):
            response = guarded.http.request(method, path, headers=headers)
            assert response.status_code == 401, (method, path)
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert response.headers["x-request-id"]
            if method != "HEAD":
                error = response.json()["error"]
                assert error["type"] == "authentication_error"
                if not path.startswith("/v1/messages"):  # Anthropic's shape has no codes
                    assert error["code"] == "invalid_api_key"
    assert guarded.http.get("/health").status_code == 200


def test_the_right_key_is_let_in_by_either_header(guarded):
    for headers in ({"authorization": "Bearer sesame"}, {"x-api-key": "sesame"}, {"x-api-key": "root"}):
        assert guarded.post(CHAT, BODY, headers=headers).status_code == 200
        assert guarded.http.get("/nope", headers=headers).status_code == 404
    client = openai.OpenAI(base_url=f"{guarded.url}/v1", api_key="sesame", max_retries=0)
    assert client.models.list().data
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="other").models.list()


def test_admin_routes_need_an_admins_key(guarded):
    for path in ("/debug/trace", "/debug/none"):
        refused = guarded.http.get(path, headers={"x-api-key": "sesame"})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "permission_denied"
    assert guarded.http.get("/debug/none", headers={"x-api-key": "root"}).status_code == 404


def test_an_open_server_has_closed_admin_routes(server):
    assert server.http.get("/debug/trace").status_code == 403
    assert server.http.get("/v1/models", headers={"x-api-key": "none"}).status_code == 200


def test_strangers_are_counted(guarded):
    def count(reason):
        text = guarded.http.get("/metrics", headers={"x-api-key": "sesame"}).text
        name = f'gradus:admission_rejections_total{{reason="{reason}"}} '
        return float(next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name))

    strangers, overreach = count("unauthenticated"), count("permission_denied")
    guarded.http.get("/v1/models")
    guarded.http.get("/debug/trace", headers={"x-api-key": "sesame"})
    assert count("unauthenticated") == strangers + 1
    assert count("permission_denied") == overreach + 1


def test_a_refused_body_is_not_read(guarded):
    """The answer comes before the body is complete, and the connection ends with it."""
    host, port = guarded.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{")
        received = b""
        while part := connection.recv(4096):
            received += part
    assert received.startswith(b"HTTP/1.1 401")


def test_a_key_is_in_no_log_and_no_answer(guarded, caplog):
    caplog.set_level("DEBUG")
    for headers in ({"authorization": "Bearer sesame"}, {"authorization": "Bearer almost-sesame"}):
        response = guarded.post(CHAT, BODY | {"nope": 1}, headers=headers)
        assert "sesame" not in response.text
        assert "sesame" not in str(response.headers)
    assert "sesame" not in caplog.text


def test_limits_of_a_key_are_a_429_that_says_when(tmp_path):
    (tmp_path / "keys").write_text(
        "- {name: slow, key: a, requests_per_minute: 1}\n- {name: small, key: b, tokens_per_minute: 1}\n"
        "- {name: free, key: c}\n"
    )
    with serving(say("Hello."), api_key_file=str(tmp_path / "keys")) as server:
        for key, code, shortest in (("a", "requests_limit", 50), ("b", "tokens_limit", 60)):
            assert server.post(CHAT, BODY, headers={"x-api-key": key}).status_code == 200
            refused = server.post(CHAT, BODY, headers={"x-api-key": key})
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == code
            assert int(refused.headers["retry-after"]) >= shortest
        for _ in range(3):
            assert server.post(CHAT, BODY, headers={"x-api-key": "c"}).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_requests_at_once_are_let_go_however_they_end(stream):
    with serving(lambda *_: 45, delay=0.01, key_max_concurrent_requests=1) as server:
        long = {"prompt": "Hi", "max_tokens": 900, "stream": True}
        with httpx.stream("POST", f"{server.url}/v1/completions", json=long, timeout=30) as response:
            lines = response.iter_lines()  # dropped, it would end the response
            next(lines)
            refused = server.post("/v1/completions", {"prompt": "Hi", "max_tokens": 2, "stream": stream})
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "concurrency_limit"
        server.wait_until_idle()
        bad = {"prompt": "Hi", "max_tokens": 2, "stream": stream}
        assert server.post("/v1/completions", bad | {"max_tokens": 10**6}).status_code == 400
        for _ in range(3):
            assert server.post("/v1/completions", bad).status_code == 200


@pytest.mark.parametrize(("isolate", "shared"), [(False, True), (True, False)])
def test_clients_share_cached_prompts_unless_told_apart(isolate, shared):
    prompt = {
        "prompt": "A prompt of more than one block of tokens, so that it can be found. " * 3,
        "max_tokens": 1,
    }
    with serving(say("x"), api_key=("a", "b"), isolate_prefix_cache=isolate) as server:

        def cached(key, **fields):
            answer = server.post("/v1/completions", prompt | fields, headers={"x-api-key": key}).json()
            return answer["usage"]["prompt_tokens_details"]["cached_tokens"]

        assert cached("a") == 0
        assert cached("a") > 0
        assert (cached("b") > 0) == shared
        assert cached("a", cache_salt="mine") == 0
        assert cached("a", cache_salt="mine") > 0
        assert (cached("b", cache_salt="mine") > 0) == shared
