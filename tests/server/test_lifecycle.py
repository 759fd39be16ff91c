"""Health, a full queue, a dead or stuck engine, stopping with requests in flight, the port, headers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from gradus.errors import ConfigError
from gradus.server.run import base_url, bind, how_to_try
from gradus.server.settings import ServerSettings
from tests.server.harness import say, serving

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def health(server):
    return httpx.get(f"{server.url}/health", timeout=10)


def forever(tokenizer, context, choice):
    return 45


def test_version_and_description(server):
    assert httpx.get(f"{server.url}/version").json()["version"]
    description = httpx.get(f"{server.url}/openapi.json").json()
    schemas = description["components"]["schemas"]
    assert {"ChatRequest", "CompletionRequest", "StreamOptions"} <= set(schemas)
    body = description["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ChatRequest"}
    assert "temperature" in schemas["ChatRequest"]["properties"]
    page = httpx.get(f"{server.url}/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for told in (CHAT, "max_completion_tokens", "/detokenize", "top_logprobs"):
        assert told in page.text
    assert "length_penalty: only 1 works here" in page.text
    assert "://" not in page.text  # nothing is loaded from elsewhere


def test_a_plain_request_id_comes_back_and_any_other_is_replaced(server):
    sent = {"x-request-id": "abc-1.2_3"}
    assert httpx.get(f"{server.url}/health", headers=sent).headers["x-request-id"] == "abc-1.2_3"
    assert httpx.get(f"{server.url}/nope", headers=sent).headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 200, "a;b", ""):
        got = httpx.get(f"{server.url}/health", headers={"x-request-id": odd}).headers["x-request-id"]
        assert got.startswith("req-")


def test_other_origins_are_let_in_only_if_asked_for():
    origin = {"origin": "https://example.org"}
    with serving(say("x")) as server:
        assert "access-control-allow-origin" not in httpx.get(f"{server.url}/health", headers=origin).headers
    with serving(say("x"), allowed_origins=("https://example.org",)) as server:
        headers = httpx.get(f"{server.url}/health", headers=origin).headers
        assert headers["access-control-allow-origin"] == "https://example.org"


def test_a_stuck_engine_is_unhealthy_and_recovers():
    with serving(forever, health_stall_seconds=0.3) as server:
        assert health(server).status_code == 200
        server.backend.gate.clear()
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(server.post, COMPLETIONS, {"prompt": "Hi", "max_tokens": 4})
            time.sleep(0.8)
            response = health(server)
            assert response.status_code == 503
            assert response.json()["error"]["code"] == "unhealthy"
            server.backend.gate.set()
            assert waiting.result().status_code == 200
        assert health(server).status_code == 200


def test_a_dead_engine_is_unhealthy_and_says_why():
    with serving(forever) as server:
        server.backend.fail = True
        for _ in range(3):
            assert server.post(COMPLETIONS, {"prompt": "Hi"}).status_code == 500
        assert health(server).status_code == 503
        response = server.post(CHAT, {"messages": [{"role": "user", "content": "Hi"}]})
        assert response.status_code == 503
        assert "the script says" in response.json()["error"]["message"]
        assert response.headers["retry-after"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_defect_of_the_server_is_a_500_in_shape_and_no_more(server, monkeypatch, stream, caplog):
    context = server.server.config.app.state.context

    def broken(*args, **options):
        raise KeyError("secret detail")

    body = {"prompt": "Hi", "stream": stream}
    with monkeypatch.context() as patch:
        patch.setattr(context.service.inputs, "process", broken)
        response = server.post(COMPLETIONS, body)
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error"
    assert "secret" not in response.text
    with monkeypatch.context() as patch:
        patch.setattr("gradus.server.http.context.usage", broken)
        response = server.post(
            COMPLETIONS, {**body, "stream_options": {"include_usage": True}} if stream else body
        )
    assert response.status_code == (200 if stream else 500)
    assert "server_error" in response.text
    assert "secret" not in response.text
    assert "secret detail" in caplog.text
    assert server.post(COMPLETIONS, body).status_code == 200


def test_a_full_queue_says_when_to_come_back():
    with serving(forever, max_queued_requests=4, delay=0.01) as server:
        server.backend.gate.clear()
        with ThreadPoolExecutor(12) as pool:
            body = {"prompt": "Hi", "max_tokens": 4}
            waiting = [pool.submit(server.post, COMPLETIONS, body) for _ in range(12)]
            time.sleep(0.5)
            server.backend.gate.set()
            responses = [each.result() for each in waiting]
        refused = [response for response in responses if response.status_code != 200]
        assert refused
        for response in refused:
            assert response.status_code == 429
            assert 1 <= int(response.headers["retry-after"]) <= 600
            assert response.json()["error"]["code"] == "queue_full"
        server.wait_until_idle()
        server.backend.gate.clear()
        with ThreadPoolExecutor(1) as pool:
            # Of prompts that belong together all are taken or none.
            many = pool.submit(server.post, COMPLETIONS, {"prompt": ["Hi"] * 40, "max_tokens": 4})
            time.sleep(0.3)
            server.backend.gate.set()
            assert many.result().status_code == 429
        server.wait_until_idle()
        assert server.post(COMPLETIONS, body).status_code == 200


def test_stopping_lets_short_requests_finish_and_ends_long_ones():
    results = {}

    def ask(name, max_tokens):
        with httpx.stream(
            "POST",
            server.url + COMPLETIONS,
            json={"prompt": "Hi", "max_tokens": max_tokens, "stream": True},
            timeout=30,
        ) as response:
            try:
                results[name] = "".join(response.iter_text())
            except httpx.HTTPError as error:
                results[name] = repr(error)

    with serving(forever, delay=0.02, shutdown_timeout=1.0) as server:
        threads = [threading.Thread(target=ask, args=case) for case in [("short", 30), ("long", 900)]]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 5
        while server.engine.stats().num_running < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        server.server.should_exit = True
        for thread in threads:
            thread.join(20)
        assert time.monotonic() - started < 6
    assert results["short"].endswith("data: [DONE]\n\n")
    assert "shutting down" in results["long"].split("\n\n")[-2]


def test_a_port_in_use_is_said_before_anything_else():
    with bind(ServerSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}.*--port"):
            bind(ServerSettings(port=port))
    with pytest.raises(ConfigError, match="--host"):
        bind(ServerSettings(host="no.such.host.invalid", port=0))


def test_addresses_to_reach_the_server_by():
    with bind(ServerSettings(port=0)) as listener:
        url = base_url(listener)
        assert url.startswith("http://127.0.0.1:")
    with bind(ServerSettings(host="0.0.0.0", port=0)) as listener:
        assert base_url(listener).startswith("http://127.0.0.1:")
    text = how_to_try(url, "demo")
    assert f"{url}/v1/chat/completions" in text
    assert "from openai import OpenAI" in text
    assert "Bearer" not in text
    text = how_to_try(url, "demo", ServerSettings(api_key=("sesame",), uds="/run/gradus.sock"))
    assert "Bearer KEY" in text
    assert "curl --unix-socket /run/gradus.sock" in text
    assert "sesame" not in text


@pytest.mark.parametrize(
    ("option", "value"),
    [("port", -1), ("port", 70000), ("max_body_bytes", 0), ("health_stall_seconds", -1.0)],
)
def test_settings_are_checked(option, value):
    with pytest.raises(ConfigError, match=option):
        ServerSettings(**{option: value})
