"""The API's description against what the server does: routes, statuses, and the schemas of real answers."""

import jsonschema
import pytest

from gradus.server.http.app import ROUTES
from tests.server.harness import hosting_demo

USER = [{"role": "user", "content": "Hi"}]
ANSWERED = [
    ("POST", "/v1/chat/completions", {"messages": USER, "max_tokens": 4, "logprobs": True, "n": 2}),
    ("POST", "/v1/completions", {"prompt": ["Hi", "You"], "max_tokens": 4, "logprobs": 1, "echo": True}),
    ("POST", "/v1/responses", {"input": "Hi", "max_output_tokens": 4}),
    ("POST", "/v1/messages", {"messages": USER, "max_tokens": 4}),
    ("POST", "/v1/messages/count_tokens", {"messages": USER}),
    ("POST", "/v1/embeddings", {"input": ["Hi", "You"]}),
    ("POST", "/v1/embeddings", {"input": "Hi", "encoding_format": "base64"}),
    ("POST", "/tokenize", {"prompt": "Hi", "return_token_strs": True}),
    ("POST", "/tokenize", {"messages": USER}),
    ("POST", "/detokenize", {"tokens": [5]}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/demo", None),
    ("GET", "/v1/capabilities", None),
    ("GET", "/health", None),
    ("GET", "/version", None),
]
REFUSED = [
    ("POST", "/v1/chat/completions", {"messages": []}, 400),
    ("POST", "/v1/completions", {"prompt": "Hi", "model": "other"}, 404),
    ("POST", "/v1/responses", {"input": 5}, 400),
    ("POST", "/v1/messages", {"messages": USER}, 400),
    ("POST", "/v1/messages", {"messages": USER, "max_tokens": 4, "model": "other"}, 404),
    ("POST", "/v1/messages/count_tokens", {}, 400),
    ("POST", "/v1/embeddings", {}, 400),
    ("POST", "/tokenize", {}, 400),
    ("POST", "/detokenize", {"tokens": [-1]}, 400),
    ("GET", "/v1/models/other", None, 404),
    ("GET", "/debug/trace", None, 403),
]


@pytest.fixture(scope="module")
def demo():
    with hosting_demo(max_model_len=256) as running:
        yield running


@pytest.fixture(scope="module")
def description(demo):
    return demo.http.get("/openapi.json").json()


def schema_of(description, method, path, status, content_type="application/json"):
    path = "/v1/models/{name}" if path.startswith("/v1/models/") else path
    content = description["paths"][path][method.lower()]["responses"][str(status)]["content"]
    return {**content[content_type]["schema"], "components": description["components"]}


@pytest.mark.parametrize(("method", "path", "body"), ANSWERED, ids=lambda value: str(value)[:30])
def test_an_answer_is_as_described(demo, description, method, path, body):
    response = demo.http.request(method, path, json=body)
    assert response.status_code == 200, response.text
    jsonschema.validate(response.json(), schema_of(description, method, path, 200))


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED, ids=lambda value: str(value)[:30])
def test_a_refusal_is_as_described(demo, description, method, path, body, status):
    response = demo.http.request(method, path, json=body)
    assert response.status_code == status, response.text
    jsonschema.validate(response.json(), schema_of(description, method, path, status))
    too_much = demo.http.request(method, path, content=b"{", headers={"content-type": "text/plain"})
    if method == "POST":
        assert too_much.status_code == 415
        jsonschema.validate(too_much.json(), schema_of(description, method, path, 415))


@pytest.mark.parametrize("entry", [entry for entry in ANSWERED if entry[2]], ids=lambda entry: entry[1])
def test_a_request_that_works_is_as_described(description, entry):
    method, path, body = entry
    content = description["paths"][path][method.lower()]["requestBody"]["content"]
    schema = {**content["application/json"]["schema"], "components": description["components"]}
    jsonschema.validate(body, schema)


def test_every_route_is_described_and_every_reference_leads_somewhere(description):
    described = {
        (path, method.upper()) for path, operations in description["paths"].items() for method in operations
    }
    found = {
        (route.path.replace(":path}", "}"), method)
        for module in ROUTES
        for route in module.router.routes
        if route.path != "/docs"
        for method in route.methods - {"HEAD"}
    }
    assert found == described
    jsonschema.Draft202012Validator.check_schema(description["components"])
    names = description["components"]["schemas"]

    def references(value):
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"].removeprefix("#/components/schemas/")
            for part in value.values():
                yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    assert set(references(description)) <= set(names)


def test_no_route_promises_what_the_framework_alone_would_say(description):
    for operations in description["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            assert {"200", "400", "500", "503"} <= set(operation["responses"])


def test_streams_are_described_where_they_are(description):
    streams = {
        path
        for path, operations in description["paths"].items()
        for operation in operations.values()
        if "text/event-stream" in operation["responses"]["200"]["content"]
    }
    assert streams == {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"}
