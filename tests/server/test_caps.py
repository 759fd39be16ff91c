"""Caps of a body's lists, and that the server says what they are."""

import json

import pytest

from gradus.server.settings import ServerSettings
from tests.server.harness import say, serving

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGE = {"role": "user", "content": "Hi"}


def tool(name):
    return {"type": "function", "function": {"name": name, "parameters": {}}}


@pytest.fixture(scope="module")
def strict():
    limits = {"max_messages": 2, "max_tools": 2, "max_stop_strings": 2, "max_logit_bias": 2, "max_n": 2}
    with serving(say("Hello."), **limits) as running:
        yield running


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("messages", lambda size: {"messages": [MESSAGE] * size}),
        ("tools", lambda size: {"tools": [tool(f"f{i}") for i in range(size)], "tool_choice": "none"}),
        ("stop", lambda size: {"stop": ["q"] * size}),
        ("logit_bias", lambda size: {"logit_bias": {str(i): 1 for i in range(size)}}),
        ("n", lambda size: {"n": size}),
    ],
)
def test_at_the_cap_is_fine_and_above_it_is_named(strict, field, make):
    base = {"messages": [MESSAGE], "max_tokens": 1}
    assert strict.post(CHAT, base | make(2)).status_code == 200
    refused = strict.post(CHAT, base | make(3))
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["param"] == field
    assert "3" in error["message"]
    assert "at most 2" in error["message"]


def test_items_of_a_response_are_capped_as_messages_are(strict):
    for size, status in ((2, 200), (3, 400)):
        body = {"input": [MESSAGE] * size, "max_output_tokens": 1}
        assert strict.post("/v1/responses", body).status_code == status
    assert strict.post("/v1/messages", {"messages": [MESSAGE] * 3, "max_tokens": 1}).status_code == 400


def schema(size):
    """A JSON schema of so many characters."""
    bare = {"type": "object", "title": ""}
    return bare | {"title": "x" * (size - len(json.dumps(bare, separators=(",", ":"))))}


def test_schemas_are_capped_by_their_own_length_and_not_the_bodys():
    with serving(say("{}"), max_schema_chars=500) as server:
        for make, place in (
            (lambda size: {"structured_outputs": {"json": schema(size - 9)}}, "structured_outputs"),
            (lambda size: {"tools": [tool("a"), tool("x" * (size - 58))], "tool_choice": "none"}, "tools[1]"),
        ):
            base = {"messages": [MESSAGE | {"content": "x" * 600}], "max_tokens": 1}
            part = make(500).get("structured_outputs") or make(500)["tools"][1]
            assert len(json.dumps(part, separators=(",", ":"))) == 500
            refused = server.post(CHAT, base | make(501))
            assert refused.json()["error"]["param"] == place
            assert "501 characters" in refused.json()["error"]["message"]
            at_the_cap = server.post(CHAT, base | make(500))
            assert "characters of JSON" not in at_the_cap.text


def test_capabilities_are_what_the_server_really_has(strict):
    told = strict.http.get("/v1/capabilities").json()
    limits = told["limits"]
    assert (limits["max_messages"], limits["max_n"]) == (2, 2)
    assert limits["max_body_bytes"] == ServerSettings().max_body_bytes
    assert told["model"] == {"id": "toy", "max_model_len": 1024}
    assert told["engine"]["max_num_seqs"] == 32
    assert told["features"] == {
        "authentication": False,
        "isolated_prefix_cache": False,
        "chat": True,
        "tool_calls": "none",
        "reasoning": "none",
        "structured_outputs": ["json", "json_object", "regex", "choice", "grammar"],
        "metrics": True,
        "grpc": False,
    }
    paths = strict.http.get("/openapi.json").json()["paths"]
    expected = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(told["endpoints"]) == expected


def test_every_field_that_is_told_of_is_known_and_no_other(strict):
    """Asked with a value that no field takes, the server names the field; an unknown one it calls unknown."""
    endpoints = strict.http.get("/v1/capabilities").json()["endpoints"]
    for path in (CHAT, COMPLETIONS):
        told = endpoints[f"POST {path}"]
        base = {"messages": [MESSAGE]} if path == CHAT else {"prompt": "Hi"}
        fields = [*told["fields"], *told["restricted_fields"]]
        assert len(fields) > 30
        for field in fields:
            refused = strict.post(path, base | {field: [{"no": "such value"}]})
            assert refused.status_code == 400, field
            assert refused.json()["error"]["code"] != "unknown_parameter" or field in ("stream_options",), (
                field
            )
        assert strict.post(path, base | {"nope": 1}).json()["error"]["code"] == "unknown_parameter"


def test_secrets_are_no_capability():
    with serving(say("x"), api_key=("sesame",), key_tokens_per_minute=70) as server:
        told = server.http.get("/v1/capabilities", headers={"x-api-key": "sesame"})
        assert told.json()["client"] == {
            "name": "api-1",
            "is_admin": False,
            "max_concurrent_requests": None,
            "requests_per_minute": None,
            "tokens_per_minute": 70,
        }
        assert told.json()["features"]["authentication"] is True
        assert "sesame" not in told.text
