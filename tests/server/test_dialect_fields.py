"""Fields of this server's own that every dialect takes, and what all of them tell of a request."""

import anthropic
import httpx
import pytest

from tests.server.harness import MODEL, say, serving

USER = [{"role": "user", "content": "Hi"}]
BODIES = {
    "/v1/chat/completions": {"messages": USER, "max_tokens": 50},
    "/v1/responses": {"input": "Hi", "max_output_tokens": 50},
    "/v1/messages": {"messages": USER, "max_tokens": 50},
}
dialects = pytest.mark.parametrize("route", BODIES)


@pytest.fixture(scope="module")
def slow():
    """Endless, at 5 ms a step."""
    with serving(lambda tokenizer, context, choice: 40 + len(context) % 26, delay=0.005) as running:
        yield running


def deltas(server, route, **fields):
    body = {**BODIES[route], "stream": True, **fields}
    with httpx.stream("POST", server.url + route, json=body, timeout=60) as response:
        return [line for line in response.iter_lines() if line.startswith("data: ") and "delta" in line]


@dialects
def test_tokens_can_travel_together(slow, route):
    each, together = deltas(slow, route), deltas(slow, route, stream_chunk_size=25)
    assert len(together) < len(each) / 2


@dialects
def test_timings_are_told_where_asked_for(slow, route):
    assert "timings" not in slow.post(route, BODIES[route]).json()
    assert slow.post(route, {**BODIES[route], "timings": True}).json()["timings"]


@dialects
def test_a_deadline_ends_a_request(slow, route):
    response = slow.post(route, {**BODIES[route], "timeout": 0.05})
    assert response.status_code == 504
    assert response.json()["error"]["type"] == "timeout_error"


@dialects
def test_cached_prompts_are_shared_under_one_salt_only(route):
    long = "word " * 40
    body = {
        **BODIES[route],
        **({"input": long} if "input" in BODIES[route] else {"messages": [USER[0] | {"content": long}]}),
    }
    with serving(say("Yes.")) as server:

        def num_cached(salt):
            marked = {"cache_control": {"type": "ephemeral"}} if route == "/v1/messages" else {}
            usage = server.post(route, {**body, **marked, "cache_salt": salt}).json()["usage"]
            for name in ("prompt_tokens_details", "input_tokens_details"):
                usage |= usage.get(name, {})
            return usage.get("cached_tokens", usage.get("cache_read_input_tokens"))

        assert num_cached("a") == 0
        assert num_cached("b") == 0
        assert num_cached("a") >= 16


def test_a_requests_id_is_where_each_client_looks_for_it(server):
    headers = {"x-request-id": "mine-1"}
    client = anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0, default_headers=headers)
    assert client.messages.create(model=MODEL, messages=USER, max_tokens=5)._request_id == "mine-1"
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(model=MODEL, messages=[], max_tokens=5)
    assert caught.value.request_id == "mine-1"
    openai_client = server.client().with_options(default_headers=headers)
    assert openai_client.responses.create(model=MODEL, input="Hi")._request_id == "mine-1"
