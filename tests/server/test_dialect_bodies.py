"""Whatever a body of the newer routes holds, it is prepared or refused by name; nothing else is raised."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import InvalidRequestError
from gradus.server.http import embeddings, messages, responses
from gradus.server.http.context import AppContext
from gradus.server.http.errors import ApiError
from gradus.server.settings import ServerSettings
from tests.server.chat_templates import HERMES, tokenizer_for
from tests.server.harness import toy_service

TOOL = {"name": "f", "input_schema": {"type": "object"}, "parameters": {"type": "object"}, "type": "function"}
GOOD = {
    responses: {"input": "Hi"},
    messages: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5},
    embeddings: {"input": "Hi"},
}
FIELDS = {
    responses: ["input", "instructions", "tools", "tool_choice", "text", "reasoning", "include", "store",
                "max_output_tokens", "stream", "stream_options", "top_logprobs", "stop", "metadata"],
    messages: ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "max_tokens",
               "stop_sequences", "stream", "metadata", "cache_control", "temperature", "top_k"],
    embeddings: ["input", "encoding_format", "pooling", "normalize", "priority", "dimensions"],
}  # fmt: skip
WORDS = [
    "user", "assistant", "system", "developer", "text", "input_text", "output_text", "thinking", "tool_use",
    "tool_result", "function", "function_call", "function_call_output", "message", "reasoning",
    "reasoning_text", "auto", "any", "tool", "none", "required", "json_schema", "json_object", "enabled",
    "adaptive", "disabled", "allowed_tools", "f", "{}", "", "float", "mean",
]  # fmt: skip
KEYS = [
    "type", "role", "content", "text", "id", "name", "input", "arguments", "call_id", "output", "tool_use_id",
    "is_error", "cache_control", "thinking", "signature", "summary", "status", "format", "schema", "strict",
    "effort", "budget_tokens", "display", "mode", "tools", "function", "disable_parallel_tool_use", "phase",
]  # fmt: skip
leaves = st.none() | st.booleans() | st.integers(-2, 2**33) | st.sampled_from(WORDS) | st.text(max_size=4)
values = st.recursive(
    leaves | st.just(TOOL),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=5)
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def context():
    return AppContext(toy_service(lambda *sequence: 2, tokenizer=tokenizer_for(HERMES)), ServerSettings())


@pytest.mark.parametrize("route", GOOD, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_body_is_prepared_or_refused(context, route):
    outcomes = set()

    @settings(max_examples=300, derandomize=True)
    @given(st.dictionaries(st.sampled_from(FIELDS[route]), values, max_size=4))
    def check(fields):
        error = refusal(context, route, {**GOOD[route], **fields})
        outcomes.add(error is None)
        if error is not None:
            assert 0 < len(str(error)) < 1000
            assert error.param is None or error.param.split(".")[0].split("[")[0] in FIELDS[route]

    check()
    assert outcomes == {True, False}


def refusal(context, route, body):
    try:
        prepared = asyncio.run(route.prepare(context, body, 100))
    except (InvalidRequestError, ApiError) as error:
        return error
    assert prepared.engine_requests
    return None
