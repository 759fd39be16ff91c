"""Calls that the model has to make: on the embedded model, which must not need any talent for them."""

import json
from types import SimpleNamespace

import httpx
import jsonschema
import openai
import pytest

from gradus.config import EngineConfig
from gradus.engine.async_engine import AsyncEngine
from gradus.runtime import load_runtime
from gradus.server.service import Service
from gradus.text.reply.call_grammar import MAX_CALLS
from tests.server.harness import SETTINGS, hosting

USER = [{"role": "user", "content": "Write a poem about the sea."}]
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 20},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"$ref": "#/$defs/days"},
    },
    "required": ["city", "days"],
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 14}},
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "The time."}}
SCHEMAS = {"weather": CITY, "clock": {"type": "object", "maxProperties": 0}}


@pytest.fixture(scope="module")
def client():
    runtime = load_runtime(EngineConfig(model="demo", num_threads=1, max_model_len=1024, seed=1))
    service = Service(AsyncEngine(runtime.core), runtime.inputs, "demo", SETTINGS)
    service.backend = SimpleNamespace(close=lambda: None)  # the runtime closes its own
    with (
        hosting(service) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client
    runtime.close()


def chat(client, **options):
    return client.chat.completions.create(model="demo", messages=USER, **options)


def named(name):
    return {"type": "function", "function": {"name": name}}


def check(calls, names):
    assert calls
    for name, arguments in calls:
        assert name in names
        jsonschema.validate(json.loads(arguments), SCHEMAS[name])


@pytest.mark.parametrize("thinking", [False, True])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_required_call_is_made_and_valid(client, temperature, thinking):
    options = {
        "tools": [WEATHER, CLOCK],
        "tool_choice": "required",
        "temperature": temperature,
        "n": 4,
        "extra_body": {"chat_template_kwargs": {"enable_thinking": thinking}},
        "seed": 3,
    }
    for choice in chat(client, **options).choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        check([(c.function.name, c.function.arguments) for c in choice.message.tool_calls], SCHEMAS)


@pytest.mark.parametrize("name", ["weather", "clock"])
def test_a_named_function_is_called_once(client, name):
    options = {"tools": [WEATHER, CLOCK], "tool_choice": named(name), "temperature": 1.0, "seed": 5, "n": 4}
    for choice in chat(client, **options).choices:
        [call] = choice.message.tool_calls
        assert choice.finish_reason == "tool_calls"
        check([(call.function.name, call.function.arguments)], [name])


def test_one_call_if_they_are_not_to_be_parallel(client):
    """Although the model would rather do anything than end."""
    end = httpx.post(str(client.base_url.join("/tokenize")), json={"prompt": "<|im_end|>"}).json()["tokens"][
        0
    ]
    options = {"tools": [CLOCK], "tool_choice": "required", "logit_bias": {str(end): -100}}
    assert len(chat(client, **options).choices[0].message.tool_calls) == MAX_CALLS
    assert len(chat(client, **options, parallel_tool_calls=False).choices[0].message.tool_calls) == 1


def test_a_stream_of_required_calls_adds_up(client):
    options = {"tools": [WEATHER, CLOCK], "tool_choice": "required", "seed": 9, "temperature": 1.0}
    whole = chat(client, **options).choices[0].message
    with client.chat.completions.stream(model="demo", messages=USER, **options) as stream:
        streamed = stream.get_final_completion().choices[0].message
    shown = [[(c.function.name, c.function.arguments) for c in m.tool_calls] for m in (whole, streamed)]
    assert shown[0] == shown[1]
    check(shown[0], SCHEMAS)


def test_only_allowed_tools_are_called(client):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [CLOCK]}}
    message = chat(client, tools=[WEATHER, CLOCK], tool_choice=allowed).choices[0].message
    assert {call.function.name for call in message.tool_calls} == {"clock"}


FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}


def test_a_required_call_and_a_form_of_the_answer_exclude_one_another(client):
    with pytest.raises(openai.BadRequestError, match="leave one of them out") as caught:
        chat(client, tools=[CLOCK], tool_choice="required", response_format=FORM)
    assert caught.value.param.startswith("response_format")
    with pytest.raises(openai.BadRequestError, match="leaves no place for calls"):
        chat(client, tools=[CLOCK], extra_body={"structured_outputs": {"grammar": 'start: "a"'}})


def test_a_form_leaves_the_model_free_to_call(client):
    options = {"tools": [CLOCK], "extra_body": {"structured_outputs": {"choice": ["yes", "no"]}}}
    for choice in chat(client, **options, temperature=2.0, n=8, seed=2).choices:
        assert choice.message.content in ("yes", "no") or choice.message.tool_calls


def test_an_answers_form_begins_after_the_reasoning(client):
    body = {
        "structured_outputs": {"choice": ["yes", "no"]},
        "chat_template_kwargs": {"enable_thinking": True},
    }
    for choice in chat(client, extra_body=body, temperature=1.0, n=8, seed=2).choices:
        assert choice.message.content in ("yes", "no")


def test_a_schema_that_cannot_be_compiled_is_refused(client):
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"properties": {"a": {"type": "word"}}}},
    }
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, tools=[tool], tool_choice="required")
    assert caught.value.param == "tools"


def test_a_strict_tool_is_called_rightly_or_not_at_all(client):
    """The model calls what it has been trained to call; only strictness holds it to the schema."""
    town = {"type": "object", "properties": {"town": {"enum": ["Bern", "Basel"]}}, "required": ["town"]}
    messages = [{"role": "user", "content": "How is the weather in Paris?"}]
    seen = []
    for strict in (False, True):
        function = {"name": "weather", "description": "The weather.", "parameters": town, "strict": strict}
        options = {"tools": [{"type": "function", "function": function}], "temperature": 0.0}
        answer = client.chat.completions.create(model="demo", messages=messages, **options)
        [call] = answer.choices[0].message.tool_calls
        seen.append(json.loads(call.function.arguments)["town"])
    assert seen[0] == "Paris"
    assert seen[1] in ("Bern", "Basel")


def test_free_text_beside_strict_tools_is_cut_off_as_any_text(client):
    strict = {"type": "function", "function": {"name": "clock", "strict": True}}
    options = {"temperature": 0.0, "max_tokens": 6}
    plain, beside = (chat(client, tools=tools, **options).choices[0] for tools in ([CLOCK], [strict]))
    assert beside.finish_reason == plain.finish_reason == "length"
    assert beside.message.content == plain.message.content


def test_a_strict_call_that_the_model_has_begun_is_complete_before_the_limit(client):
    """Although the schema sets no bound to its texts, and the model would go on."""
    schema = {"type": "object", "properties": {"towns": {"type": "array", "items": {"type": "string"}}}}
    function = {"name": "weather", "description": "The weather.", "parameters": schema, "strict": True}
    options = {
        "messages": [{"role": "user", "content": "How is the weather in Paris?"}],
        "tools": [{"type": "function", "function": function}],
        "temperature": 1.5,
        "n": 16,
        "seed": 2,
    }
    longest = []
    for limit in (400, 40):
        choices = client.chat.completions.create(model="demo", max_tokens=limit, **options).choices
        called = [choice for choice in choices if choice.message.tool_calls]
        for choice in called:
            assert choice.finish_reason == "tool_calls"
            for call in choice.message.tool_calls:
                jsonschema.validate(json.loads(call.function.arguments), schema)
        longest.append(max(len(choice.message.tool_calls[0].function.arguments) for choice in called))
    assert longest[0] > 2 * longest[1]


@pytest.mark.parametrize("thinking", [False, True])
def test_a_required_call_is_complete_before_the_limit(client, thinking):
    """Although the schema sets no bound to its texts, and the model would go on."""
    note = {"type": "object", "properties": {"text": {"type": "string"}, "tags": {"type": "array"}}}
    tool = {
        "type": "function",
        "function": {"name": "note", "parameters": {**note, "required": ["text", "tags"]}},
    }
    body = {"chat_template_kwargs": {"enable_thinking": thinking}}
    options = {"tools": [tool], "tool_choice": "required", "temperature": 2.0, "max_tokens": 100}
    for choice in chat(client, **options, n=8, seed=4, extra_body=body).choices:
        assert choice.finish_reason == "tool_calls"
        for call in choice.message.tool_calls:
            jsonschema.validate(json.loads(call.function.arguments), {**note, "required": ["text", "tags"]})
