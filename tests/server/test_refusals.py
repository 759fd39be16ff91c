"""Whatever a client sends: a 4xx in OpenAI's shape that names what was wrong, and a server that goes on."""

import json
import random
import socket

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.harness import MODEL, say, serving

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
JSON_TYPE = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server():
    with serving(
        say("fine"), max_body_bytes=200_000, max_prompts=8, max_choices=64, max_model_len=128
    ) as running:
        yield running


def refused(response, status=400):
    """The error's object, after checking its shape."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert len(error["message"]) < 1000
    return error


def still_right(server):
    response = server.http.post(COMPLETIONS, json={"prompt": "Hi"})
    assert response.status_code == 200
    assert response.json()["choices"][0]["text"] == "fine"


# field, value, param named, part of the message
SAMPLING = [
    ("temperature", -0.1, "temperature", "from 0 to 100"),
    ("temperature", 1e9, "temperature", "from 0 to 100"),
    ("temperature", "hot", "temperature", "is 'hot'; it must be a number"),
    ("temperature", True, "temperature", "it must be a number"),
    ("temperature", [1], "temperature", "it must be a number"),
    ("top_p", 0, "top_p", "above 0 and at most 1"),
    ("top_p", 1.5, "top_p", "above 0 and at most 1"),
    ("top_p", {}, "top_p", "it must be a number"),
    ("top_k", -2, "top_k", "from -1"),
    ("top_k", 1.5, "top_k", "it must be an integer"),
    ("n", 0, "n", "from 1 to 128"),
    ("n", 129, "n", "at most 128"),
    ("n", 2.0, "n", "it must be an integer"),
    ("n", 10**30, "n", None),
    ("max_tokens", 0, "max_tokens", "from 1"),
    ("max_tokens", -5, "max_tokens", "from 1"),
    ("max_tokens", 10**12, "max_tokens", None),
    ("max_tokens", "5", "max_tokens", "it must be an integer"),
    ("seed", 2**63, "seed", None),
    ("seed", 1.5, "seed", "it must be an integer"),
    ("seed", "x", "seed", "it must be an integer"),
    ("stop", "", "stop", "non-empty"),
    ("stop", ["a", ""], "stop", "non-empty"),
    ("stop", [1], "stop", "non-empty"),
    ("stop", {"a": 1}, "stop", "non-empty"),
    ("stop", ["x"] * 33, "stop", "at most 32"),
    ("stop", "x" * 1025, "stop", "at most 1024"),
    ("stop_token_ids", [430], "stop_token_ids", "from 0 to 429"),
    ("stop_token_ids", [-1], "stop_token_ids", "0 or more"),
    ("stop_token_ids", 5, "stop_token_ids", "it must be a list"),
    ("stop_token_ids", ["a"], "stop_token_ids[0]", "it must be an integer"),
    ("ignore_eos", 1, "ignore_eos", "true or false"),
    ("priority", 1.5, "priority", "it must be an integer"),
    ("priority", 2**40, "priority", "must be an integer from"),
    ("stream", "yes", "stream", "true or false"),
    ("stream", 1, "stream", "true or false"),
    ("stream_options", {"include_usage": True}, "stream_options", "needs stream"),
    ("stream_options", [], "stream_options", "it must be an object"),
    ("stream_options", {"x": 1}, "stream_options.x", "no such field"),
    ("model", 5, "model", "it must be a string"),
    ("frequency_penalty", 2.5, "frequency_penalty", "from -2 to 2"),
    ("frequency_penalty", False, "frequency_penalty", "it must be a number"),
    ("presence_penalty", -3, "presence_penalty", "from -2 to 2"),
    ("repetition_penalty", 0, "repetition_penalty", "above 0 and at most 100"),
    ("logit_bias", {"x": 1}, "logit_bias", "has the key 'x'"),
    ("logit_bias", {"430": 1}, "logit_bias", "from 0 to 429"),
    ("logit_bias", {"5": 101}, "logit_bias", "from -100 to 100"),
    ("logit_bias", {"5": True}, "logit_bias", "must be a number"),
    ("logit_bias", [5], "logit_bias", "it must be an object"),
    ("logit_bias", {str(i): 1 for i in range(1025)}, "logit_bias", "at most 1,024"),
    ("allowed_token_ids", [], "allowed_token_ids", "at least one token id"),
    ("allowed_token_ids", [430], "allowed_token_ids", "from 0 to 429"),
    ("allowed_token_ids", ["a"], "allowed_token_ids[0]", "it must be an integer"),
    ("bad_words", [""], "bad_words", "non-empty"),
    ("bad_words", "x", "bad_words", "it must be a list"),
    ("bad_words", ["x"] * 257, "bad_words", "at most 256"),
    ("bad_words", ["x" * 257], "bad_words", "at most 256"),
    ("bad_words", [" "], "bad_words", "no token"),
    ("min_tokens", -1, "min_tokens", "from 0"),
    ("min_tokens", 500, "min_tokens", "at most max_tokens"),
    ("prompt_logprobs", 21, "prompt_logprobs", "from 0 to 20"),
    ("prompt_logprobs", True, "prompt_logprobs", "it must be an integer"),
    ("include_stop_str_in_output", 1, "include_stop_str_in_output", "true or false"),
    ("skip_special_tokens", "yes", "skip_special_tokens", "true or false"),
    ("use_beam_search", True, "use_beam_search", "only false works"),
    ("user", 5, "user", "must be a string"),
    ("min_p", 1.1, "min_p", "from 0 to 1"),
    ("response_format", {"type": "grammar"}, "response_format", '"json_object" or "json_schema"'),
    ("response_format", "json_object", "response_format", "must be an object"),
    ("response_format", {"type": "text", "schema": {}}, "response_format.schema", "no field here"),
    ("response_format", {"type": "json_schema"}, "response_format.json_schema", "a name and a schema"),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "n", "schema": 5}},
        "response_format.json_schema.schema",
        "must be a JSON Schema",
    ),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "n" * 65, "schema": {}}},
        "response_format.json_schema.name",
        "1 to 64 characters",
    ),
    ("structured_outputs", {}, "structured_outputs", "none of them"),
    ("structured_outputs", [], "structured_outputs", "must be an object"),
    ("structured_outputs", {"structural_tag": "{}"}, "structured_outputs.structural_tag", "no field here"),
    ("structured_outputs", {"regex": "a", "choice": ["a"]}, "structured_outputs", "exactly one of"),
    (
        "structured_outputs",
        {"json": {}, "disable_additional_properties": True},
        "structured_outputs.disable_additional_properties",
        "works as false only",
    ),
    ("guided_json", {}, "guided_json", "send structured_outputs"),
    ("guided_regex", "a", "guided_regex", "send structured_outputs"),
    ("no_such_field", 1, "no_such_field", "no field of this endpoint"),
    ("Temperature", 1, "Temperature", "no field of this endpoint"),
    ("", 1, "", "no field of this endpoint"),
    ("x" * 5000, 1, "x" * 100, "no field of this endpoint"),
]

CHAT_ONLY = [
    ("logprobs", 1, "logprobs", "true or false"),
    ("top_logprobs", 2, "top_logprobs", "needs logprobs"),
    ("max_completion_tokens", 0, "max_completion_tokens", "max_completion_tokens is 0"),
    ("tools", {}, "tools", "it must be a list"),
    ("tools", [{"type": "function", "function": {"name": "f"}}], "tools", "reads no tool calls"),
    ("tool_choice", "required", "tool_choice", "there are no tools"),
    ("tool_choice", {"type": "function", "function": {"name": "f"}}, "tool_choice", "there are no tools"),
    ("parallel_tool_calls", 1, "parallel_tool_calls", "true or false"),
    ("include_reasoning", "no", "include_reasoning", "true or false"),
    ("functions", [{}], "functions", "only [] works"),
    ("modalities", ["audio"], "modalities", 'only ["text"] works'),
    ("audio", {}, "audio", "does not support it"),
    ("store", True, "store", "only false works"),
    ("service_tier", "flex", "service_tier", '"auto" or "default"'),
    ("reasoning_effort", "low", "reasoning_effort", "no such efforts"),
    ("verbosity", "high", "verbosity", '"medium"'),
    ("metadata", "x", "metadata", "an object"),
    ("web_search_options", {}, "web_search_options", "does not support it"),
    ("prediction", {"type": "content"}, "prediction", "does not support it"),
    ("prompt_cache_retention", "24h", "prompt_cache_retention", "in_memory"),
    ("chat_template", "{{ 1 }}", "chat_template", "does not support it"),
    ("chat_template_kwargs", {"messages": []}, "chat_template_kwargs", "sets messages"),
    ("chat_template_kwargs", [], "chat_template_kwargs", "it must be an object"),
    ("messages", "Hi", "messages", "must be a list"),
    ("messages", [], "messages", "at least one"),
    ("messages", ["Hi"], "messages", "messages[0] is 'Hi'"),
    ("messages", [{"role": "robot", "content": "x"}], "messages", "messages[0].role is 'robot'"),
    ("messages", [{"role": ["user"], "content": "x"}], "messages", "messages[0].role"),
    ("messages", [{"role": "user"}], "messages", "messages[0].content is null"),
    ("messages", [{"role": "user", "content": 5}], "messages", "messages[0].content is 5"),
    ("messages", [{"role": "user", "content": [{"type": "image_url"}]}], "messages", "'image_url'"),
    ("messages", [{"role": "user", "content": [{"type": "text"}]}], "messages", "content[0].text is null"),
    ("messages", [{"role": "user", "content": ["x"]}], "messages", "content[0] is 'x'"),
    ("messages", [{"role": "user", "content": "x", "tool_calls": []}], "messages", "'tool_calls'"),
    ("messages", [{"role": "user", "content": "x", "color": 1}], "messages", "'color'"),
    ("messages", [{"role": "assistant", "content": "x", "tool_calls": 1}], "messages", "must be a list"),
    (
        "messages",
        [{"role": "assistant", "content": "x", "tool_calls": [1]}],
        "messages",
        "tool_calls[0] is 1",
    ),
    ("messages", [{"role": "assistant", "content": "x", "audio": {}}], "messages", "only null works"),
    ("messages", [{"role": "user", "content": "x " * 500}], "messages", "this model's context is 128"),
    ("messages", MESSAGES * 5000, "messages", "at most 4,096"),
]

COMPLETIONS_ONLY = [
    ("prompt", 5, "prompt", "it must be a string, a list of strings"),
    ("prompt", {}, "prompt", "it must be a string, a list of strings"),
    ("prompt", [], "prompt", "empty list"),
    ("prompt", "", "prompt", "prompt is empty"),
    ("prompt", [[]], "prompt", "prompt is empty"),
    ("prompt", [1, "a"], "prompt", "it must be a string, a list of strings"),
    ("prompt", ["a", [1]], "prompt", "it must be a string, a list of strings"),
    ("prompt", [["a"]], "prompt", "it must be a string, a list of strings"),
    ("prompt", [[[1]]], "prompt", "it must be a string, a list of strings"),
    ("prompt", [True], "prompt", "it must be a string, a list of strings"),
    ("prompt", [1.5], "prompt", "it must be a string, a list of strings"),
    ("prompt", [430], "prompt", "from 0 to 429"),
    ("prompt", [-1], "prompt", "from 0 to 429"),
    ("prompt", [2**80], "prompt", "from 0 to 429"),
    ("prompt", ["a"] * 9, "prompt", "may have at most 8"),
    ("prompt", [[1]] * 9, "prompt", "may have at most 8"),
    ("prompt", [5] * 128, "prompt", "has 128 tokens; this model's context is 128"),
    ("prompt", ["ok", "x" * 5000], "prompt", "prompt[1]: the prompt has"),
    ("max_tokens", 500, "max_tokens", "together"),
    ("logprobs", True, "logprobs", "it must be an integer"),
    ("logprobs", 21, "logprobs", "from 0 to 20"),
    ("logprobs", -1, "logprobs", "from 0 to 20"),
    ("best_of", 0, "best_of", "at least n, which is 1"),
    ("best_of", 129, "n", "choices"),
    ("best_of", 1.5, "best_of", "it must be an integer"),
    ("suffix", "end", "suffix", "is 'end'; text is not filled in"),
    ("echo", 1, "echo", "true or false"),
    ("messages", MESSAGES, "messages", "no field of this endpoint"),
]


@pytest.mark.parametrize(("field", "value", "param", "says"), SAMPLING + CHAT_ONLY)
def test_a_chat_request_is_refused_by_name(server, field, value, param, says):
    check(server, CHAT, {"messages": MESSAGES, field: value}, param, says)


@pytest.mark.parametrize(("field", "value", "param", "says"), SAMPLING + COMPLETIONS_ONLY)
def test_a_completion_request_is_refused_by_name(server, field, value, param, says):
    check(server, COMPLETIONS, {"prompt": "Hi", field: value}, param, says)


def check(server, path, body, param, says):
    error = refused(server.http.post(path, json=body))
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    if says is not None:
        assert says in error["message"]
    still_right(server)


@pytest.mark.parametrize(
    ("path", "field"), [(CHAT, "messages"), (COMPLETIONS, "prompt"), ("/detokenize", "tokens")]
)
def test_what_must_be_there_is_missed_by_name(server, path, field):
    error = refused(server.http.post(path, json={"model": MODEL}))
    assert error["code"] == "missing_required_parameter"
    assert error["param"] == field
    refused(server.http.post(path, json={field: None}))


def test_an_overflow_names_three_numbers_and_a_code(server):
    ids = [5] * 100
    error = refused(server.http.post(COMPLETIONS, json={"prompt": ids, "max_tokens": 50}))
    assert error["code"] == "context_length_exceeded"
    for number in ("100", "50", "150", "128"):
        assert number in error["message"]
    assert "Lower max_tokens to 28" in error["message"]
    body = {"messages": MESSAGES, "max_completion_tokens": 500}
    error = refused(server.http.post(CHAT, json=body))
    assert error["param"] == "max_completion_tokens"
    assert "Lower max_completion_tokens to" in error["message"]


def test_two_names_of_one_limit_must_agree(server):
    body = {"messages": MESSAGES, "max_tokens": 5, "max_completion_tokens": 6}
    message = refused(server.http.post(CHAT, json=body))["message"]
    assert "max_tokens is 5 and max_completion_tokens is 6; they mean the same" in message
    assert server.http.post(CHAT, json={**body, "max_tokens": 6}).status_code == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, "/tokenize", "/detokenize"])
def test_another_model_is_not_found(server, path):
    bodies = {CHAT: {"messages": MESSAGES}, "/detokenize": {"tokens": []}}
    error = refused(server.http.post(path, json={"model": "gpt-x", **bodies.get(path, {"prompt": "a"})}), 404)
    assert error["code"] == "model_not_found"
    assert error["param"] == "model"
    assert MODEL in error["message"]


BODIES = [
    (b"", 400),
    (b"{", 400),
    (b"{'prompt': 'Hi'}", 400),
    (b"null", 400),
    (b"[]", 400),
    (b'"Hi"', 400),
    (b"5", 400),
    (b'{"prompt": "Hi"} x', 400),
    (b'{"prompt": "Hi", "temperature": NaN}', 400),
    (b'{"prompt": "Hi", "temperature": Infinity}', 400),
    (b'{"prompt": "Hi", "temperature": -Infinity}', 400),
    (b'{"prompt": "Hi", "temperature": 1e999}', 400),
    (b'{"prompt": "Hi", "seed": 1' + b"0" * 5000 + b"}", 400),
    (b'{"prompt": "Hi", "n": -1' + b"0" * 4000 + b"}", 400),
    (b'{"prompt": "\\ud800"}', 400),
    (b'{"prompt": "a\\udfffb"}', 400),
    (b'{"\\ud83d": 1, "prompt": "Hi"}', 400),
    (b'{"prompt": "\xff\xfe"}', 400),
    (b'\xef\xbb\xbf{"prompt": "Hi"}', 400),
    ('{"prompt": "Hi"}'.encode("utf-16"), 400),
    (b'{"prompt": "a\nb"}', 400),
    (b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    (b'{"prompt": ' + b"[" * 500 + b"]" * 500 + b"}", 400),
    (b'{"prompt": "Hi", "logit_bias": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}", 400),
    (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 400),
    (b'{"prompt": "' + b"x" * 200_001 + b'"}', 413),
    (b"\x00" * 100, 400),
    (b'{"prompt": "Hi", "prompt": 5}', 400),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=range(len(BODIES)))
def test_a_broken_body_is_refused(server, body, status):
    for path in (COMPLETIONS, CHAT):
        refused(server.http.post(path, content=body, headers=JSON_TYPE), status)
    still_right(server)


def test_deep_nesting_in_template_variables_is_refused_or_harmless(server):
    for depth in (10, 200, 900, 5000):
        deep = '{"a":' * depth + "1" + "}" * depth
        body = f'{{"messages": [{{"role": "user", "content": "Hi"}}], "chat_template_kwargs": {deep}}}'
        response = server.http.post(CHAT, content=body, headers=JSON_TYPE)
        assert response.status_code in (200, 400)
    still_right(server)


def test_surrogate_pairs_are_characters(server):
    body = b'{"prompt": "\\ud83d\\ude00"}'
    assert server.http.post(COMPLETIONS, content=body, headers=JSON_TYPE).status_code == 200


def test_a_body_too_large_is_refused_even_without_a_declared_length(server):
    def chunks():
        yield b'{"prompt": "'
        for _ in range(300):
            yield b"x" * 1000
        yield b'"}'

    assert refused(httpx.post(server.url + COMPLETIONS, content=chunks(), headers=JSON_TYPE), 413)
    still_right(server)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "x" * 500])
def test_only_json_is_read(server, kind):
    headers = {} if kind is None else {"content-type": kind}
    error = refused(server.http.post(COMPLETIONS, content=b'{"prompt": "Hi"}', headers=headers), 415)
    assert "application/json" in error["message"]


def test_json_may_come_with_a_charset(server):
    headers = {"content-type": "application/json; charset=utf-8"}
    assert server.http.post(COMPLETIONS, content=b'{"prompt": "Hi"}', headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", CHAT, 405),
        ("PUT", COMPLETIONS, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/images/generations", 404),
        ("GET", "/v1/" + "x" * 2000, 404),
        ("GET", "/%00%ff", 404),
    ],
)
def test_wrong_methods_and_paths_are_in_shape_too(server, method, path, status):
    refused(server.http.request(method, path), status)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": "a", "messages": MESSAGES},
        {"prompt": 5},
        {"prompt": "a", "x": 1},
        {"messages": "a"},
        {"messages": MESSAGES, "chat_template_kwargs": {"tools": 1}},
        {"prompt": "a", "return_token_strs": "yes"},
    ],
)
def test_tokenize_refuses_by_name(server, body):
    refused(server.http.post("/tokenize", json=body))


@pytest.mark.parametrize("tokens", ["a", 5, [430], [-1], [1.0], [None], [[1]], {}])
def test_detokenize_refuses_by_name(server, tokens):
    assert "tokens" in refused(server.http.post("/detokenize", json={"tokens": tokens}))["message"]


def test_bytes_that_are_no_http_do_not_stop_the_server(server):
    host, port = server.url.removeprefix("http://").split(":")
    generator = random.Random(1)
    for _ in range(30):
        with socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(generator.randbytes(200))
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\ncontent-length: 500\r\n\r\n{")  # and no more
    still_right(server)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = sorted(
    {field for field, *_ in SAMPLING + CHAT_ONLY + COMPLETIONS_ONLY if len(field) < 40}
    | {"tool_choice", "add_generation_prompt", "documents"}
)
plausible = st.sampled_from(
    [0, 1, 2, -1, 0.5, "x", True, None, [], {}, [1], ["a"], MESSAGES, "none", 20, 1e300]
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([CHAT, COMPLETIONS, "/tokenize", "/detokenize"]),
    good=st.booleans(),
    fields=st.dictionaries(st.sampled_from(FIELDS), json_values | plausible, max_size=6),
)
def test_no_json_makes_the_server_fail(server, path, good, fields):
    base = {CHAT: {"messages": MESSAGES}, "/detokenize": {"tokens": [5]}}.get(path, {"prompt": "Hi"})
    body = {**base, **fields} if good else fields
    if body.get("n") and isinstance(body["n"], int):
        body["n"] = min(body["n"], 3)
    response = server.http.post(
        path, content=json.dumps(body).encode("utf-8", "surrogatepass"), headers=JSON_TYPE
    )
    if response.status_code != 200:
        assert response.status_code in (400, 404)
        refused(response, response.status_code)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]",:0123456789.eEnulltruefalse\\ ', max_size=80).map(str.encode)
)
def test_no_bytes_make_the_server_fail(server, body):
    refused(server.http.post(COMPLETIONS, content=body, headers=JSON_TYPE))


def test_the_server_is_right_after_all_this(server):
    still_right(server)
    server.wait_until_idle()
    assert server.http.get("/health").json() == {"status": "ok"}
