"""`/v1/responses` as the official client sees it; the client's own types check what is on the wire."""

import asyncio
import json

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from tests.server.calling_model import ARGUMENTS, CALLS, SCHEMA, THOUGHT
from tests.server.chat_templates import QWEN3, tokenizer_for
from tests.server.harness import MODEL, hosting_demo, say, serving

EVENT = TypeAdapter(ResponseStreamEvent)
WEATHER = {"type": "function", "name": "weather", "description": "The weather.", "parameters": SCHEMA}
CLOCK = {"type": "function", "name": "clock", "parameters": {"type": "object"}, "strict": None}


@pytest.fixture(scope="module")
def demo():
    with hosting_demo(max_model_len=1024) as running:
        yield running


def ask(server, prompt="What is the answer?", **options):
    return server.client().responses.create(model=MODEL, input=prompt, **options)


def on_the_wire(server, **body):
    """The answer as it is sent, valid by the client's types."""
    response = server.post("/v1/responses", {"input": "Hi", **body})
    assert response.status_code == 200, response.text
    Response.model_validate(response.json(), strict=True)
    return response.json()


def events_of(server, **body):
    """The events as they are sent, each valid by the client's types."""
    with httpx.stream(
        "POST", f"{server.url}/v1/responses", json={"input": "Hi", "stream": True, **body}
    ) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        raw = b"".join(response.iter_raw()).decode()
    events = []
    for block in raw.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        EVENT.validate_json(data.removeprefix("data: "), strict=True)
    return events


def without_ids(value):
    """The same whoever generated it and when."""
    if isinstance(value, dict):
        return {
            name: without_ids(part)
            for name, part in value.items()
            if name not in ("id", "call_id", "created_at", "completed_at")
        }
    return [without_ids(part) for part in value] if isinstance(value, list) else value


DONE_OF = {
    "response.output_text.delta": ("response.output_text.done", "text"),
    "response.reasoning_text.delta": ("response.reasoning_text.done", "text"),
    "response.function_call_arguments.delta": ("response.function_call_arguments.done", "arguments"),
}


def check_order(events):
    """The published order of events; returns the output that they add up to, item by item."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:2] == ["created", "in_progress"]
    assert kinds[-1] in ("completed", "incomplete")
    items, rest = [], events[2:-1]
    while rest:
        added = rest.pop(0)
        assert added["type"] == "response.output_item.added"
        assert added["output_index"] == len(items)
        assert added["item"]["status"] == "in_progress"
        has_part = added["item"]["type"] != "function_call"
        if has_part:
            assert added["item"]["content"] == []
            part = rest.pop(0)
            assert part["type"] == "response.content_part.added"
            assert part["part"]["text"] == ""
        deltas = []
        while rest[0]["type"] in DONE_OF:
            deltas.append(rest.pop(0))
        done = rest.pop(0)
        name = "text" if has_part else "arguments"
        assert done[name] == "".join(delta["delta"] for delta in deltas)
        assert {DONE_OF[delta["type"]] for delta in deltas} <= {(done["type"], name)}
        if has_part:
            part = rest.pop(0)
            assert part["type"] == "response.content_part.done"
            assert part["part"]["text"] == done["text"]
            deltas += [done, part]
        item = rest.pop(0)
        assert item["type"] == "response.output_item.done"
        assert item["item"]["id"] == added["item"]["id"]
        assert {delta["item_id"] for delta in deltas} <= {item["item"]["id"]}
        assert (item["item"]["content"][0]["text"] if has_part else item["item"]["arguments"]) == done[name]
        items.append(item["item"])
    return items


def test_an_answer_in_one_piece(server, answer):
    result = ask(server, instructions="Be brief.", metadata={"a": "b"})
    assert result.id.startswith("resp_")
    assert result.object == "response"
    assert result.status == "completed"
    assert result.output_text == answer
    [item] = result.output
    assert (item.type, item.role, item.status) == ("message", "assistant", "completed")
    assert result.usage.output_tokens == len(server.tokenizer.encode(answer)) + 1
    assert result.usage.total_tokens == result.usage.input_tokens + result.usage.output_tokens
    assert result.model_extra["store"] is False
    assert result.metadata == {"a": "b"}
    assert result.error is None
    assert result.incomplete_details is None


@pytest.mark.parametrize("kind", ["server", "calling", "thinking"])
def test_a_stream_tells_of_every_step_and_adds_up_to_the_whole(kind, request):
    server = request.getfixturevalue(kind)
    body = {} if kind == "server" else {"tools": [WEATHER, CLOCK]}
    events = events_of(server, **body)
    items = check_order(events)
    final = events[-1]["response"]
    assert final["output"] == items
    whole = on_the_wire(server, **body)
    assert without_ids(whole["output"]) == without_ids(items)
    assert final["usage"]["output_tokens"] == whole["usage"]["output_tokens"]
    expected = {
        "server": ["message"],
        "calling": ["message", "function_call", "function_call"],
        "thinking": ["reasoning", "message", "function_call", "function_call"],
    }
    assert [item["type"] for item in items] == expected[kind]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["id"] == final["id"]


def test_a_stream_is_told_as_it_comes(calling):
    deltas = [event for event in events_of(calling, tools=[WEATHER, CLOCK]) if event["type"] in DONE_OF]
    assert len(deltas) > 6


def test_calls_come_with_their_ids_and_arguments(calling):
    _, weather, clock = ask(calling, tools=[WEATHER, CLOCK]).output
    assert (weather.name, weather.arguments) == ("weather", ARGUMENTS)
    assert (clock.name, clock.arguments) == ("clock", "{}")
    assert weather.call_id.startswith("call_")
    assert weather.call_id != clock.call_id
    assert weather.id.startswith("fc_")
    first_only = ask(calling, tools=[WEATHER, CLOCK], parallel_tool_calls=False)
    assert [item.type for item in first_only.output].count("function_call") == 1
    assert ask(calling, tools=[WEATHER], tool_choice="none").output_text == CALLS


def test_reasoning_is_an_item_of_its_own(thinking):
    result = ask(thinking)
    assert result.output[0].type == "reasoning"
    assert result.output[0].content[0].text == THOUGHT
    assert result.output[0].summary == []
    assert result.output_text == CALLS
    assert 0 < result.usage.output_tokens_details.reasoning_tokens < result.usage.output_tokens


@pytest.mark.parametrize("kind", ["server", "calling", "thinking"])
def test_the_clients_own_accumulator_reads_the_stream(kind, request):
    server = request.getfixturevalue(kind)
    tools = [] if kind == "server" else [{**WEATHER, "strict": None}, CLOCK]
    with server.client().responses.stream(model=MODEL, input="Hi", tools=tools) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == "".join(texts)
    assert [item.type for item in final.output] == [
        item.type for item in ask(server, "Hi", tools=tools).output
    ]


def test_the_async_client(calling):
    async def both():
        async with openai.AsyncOpenAI(base_url=f"{calling.url}/v1", api_key="none", max_retries=0) as client:
            whole = await client.responses.create(model=MODEL, input="Hi", tools=[WEATHER, CLOCK])
            stream = await client.responses.create(
                model=MODEL, input="Hi", tools=[WEATHER, CLOCK], stream=True
            )
            return whole, [event async for event in stream]

    whole, events = asyncio.run(both())
    assert events[-1].type == "response.completed"
    assert without_ids(events[-1].response.to_dict()) == without_ids(whole.to_dict())


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_makes_it_incomplete(server, stream):
    result = ask(server, max_output_tokens=3, stream=stream)
    if stream:
        last = list(result)[-1]
        assert last.type == "response.incomplete"
        result = last.response
    assert result.status == "incomplete"
    assert result.incomplete_details.reason == "max_output_tokens"
    assert result.output[0].status == "incomplete"
    assert result.usage.output_tokens == 3


def test_nothing_said_is_a_message_without_text():
    with serving(say("")) as server:
        assert [item["content"][0]["text"] for item in on_the_wire(server)["output"]] == [""]
        assert check_order(events_of(server))[0]["content"][0]["text"] == ""


def text(content):
    return {"type": "input_text", "text": content}


def test_items_are_the_conversation_that_chat_messages_are(calling):
    """The oracle is the chat route's reading of the same conversation."""
    call = {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": '{"zone": "UTC"}'}
    thought = {"type": "reasoning_text", "text": "Hm."}
    said = {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}
    about = {"id": "msg_1", "role": "assistant", "status": "completed"}
    items = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [text("What time is it?")]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [thought]},
        {"type": "message", "content": [said], **about},
        {**call, "id": "fc_1", "status": "completed"},
        {**call, "call_id": "c2", "name": "date"},
        {"type": "function_call_output", "call_id": "c1", "output": "12:00"},
        {"type": "function_call_output", "call_id": "c2", "output": [text("Monday")]},
        {"role": "assistant", "content": "Noon."},
        {"role": "user", "content": "Thanks"},
    ]

    def function(call_id, name):
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"zone": "UTC"}'}}

    messages = [
        {"role": "system", "content": "You are a clock."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What time is it?"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [function("c1", "clock"), function("c2", "date")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "c2", "content": "Monday"},
        {"role": "assistant", "content": "Noon."},
        {"role": "user", "content": "Thanks"},
    ]
    asked = calling.post("/tokenize", {"messages": messages}).json()
    usage = on_the_wire(calling, input=items, instructions="You are a clock.", max_output_tokens=1)["usage"]
    assert usage["input_tokens"] == asked["count"]


def test_an_answers_items_can_be_sent_back(thinking):
    """A client without `previous_response_id` sends the whole conversation."""
    first = ask(thinking, tools=[WEATHER, CLOCK])
    conversation = [{"role": "user", "content": "What is the answer?"}]
    conversation += [item.to_dict() for item in first.output]
    conversation += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "rain"}
        for item in first.output
        if item.type == "function_call"
    ]
    second = ask(thinking, conversation, tools=[WEATHER, CLOCK])
    assert second.status == "completed"
    assert second.usage.input_tokens > first.usage.input_tokens


def test_logprobs_are_there_if_included(server, answer):
    include = ["message.output_text.logprobs"]
    part = ask(server, include=include, top_logprobs=2).output[0].content[0]
    assert b"".join(bytes(entry.bytes) for entry in part.logprobs[:-1]).decode() == answer
    assert [top.logprob for top in part.logprobs[0].top_logprobs] == [-0.25, -1.25]
    events = events_of(server, include=include, top_logprobs=2)
    streamed = [entry for event in events for entry in event.get("logprobs", []) if "delta" in event]
    assert streamed == [entry.to_dict() for entry in part.logprobs]
    assert ask(server).output[0].content[0].logprobs == []


def test_stop_strings_and_sampling_fields_work_as_elsewhere(server, answer):
    result = ask(server, extra_body={"stop": ["answer"], "seed": 1, "top_k": 5})
    assert result.output_text == answer[: answer.index("answer")]
    sampling = server.backend.last_sampling
    assert sampling.top_k.tolist() == [5]


def test_thinking_can_be_switched_off_by_effort():
    with serving(say("Yes."), tokenizer=tokenizer_for(QWEN3)) as server:
        plain = ask(server).usage.input_tokens
        assert ask(server, reasoning={"effort": "none"}).usage.input_tokens > plain  # the closed marks
        with pytest.raises(openai.BadRequestError, match=r"reasoning\.effort is 'low'") as caught:
            ask(server, reasoning={"effort": "low"})
        assert caught.value.param == "reasoning.effort"


class Person(BaseModel):
    name: str
    age: int


def test_a_text_format_holds(demo):
    client = demo.client()
    options = {"model": "demo", "input": "A person in JSON, please.", "max_output_tokens": 200}
    parsed = client.responses.parse(text_format=Person, **options)
    if parsed.status == "completed":
        assert isinstance(parsed.output_parsed, Person)
    # A bounded schema always ends.
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    format_ = {"type": "json_schema", "name": "ok", "schema": {**schema, "additionalProperties": False}}
    result = client.responses.create(**options, text={"format": format_})
    assert isinstance(json.loads(result.output_text)["ok"], bool)
    assert result.text.format.type == "json_schema"
    assert isinstance(
        json.loads(client.responses.create(**options, text={"format": {"type": "json_object"}}).output_text),
        dict,
    )


def test_a_required_call_is_made(demo):
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    lamp = {"type": "function", "name": "lamp", "parameters": schema}
    for choice in ("required", {"type": "function", "name": "lamp"}):
        result = demo.client().responses.create(
            model="demo", input="Light!", tools=[lamp, CLOCK], tool_choice=choice, max_output_tokens=300
        )
        calls = [item for item in result.output if item.type == "function_call"]
        assert calls
    assert calls[0].name == "lamp"
    assert isinstance(json.loads(calls[0].arguments)["on"], bool)


REFUSED = [
    ({"store": True}, "store", "stores nothing"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "stores nothing"),
    ({"conversation": "conv_1"}, "conversation", "stores nothing"),
    ({"background": True}, "background", "only false"),
    ({"truncation": "auto"}, "truncation", '"disabled"'),
    ({"input": []}, "input", "at least one"),
    ({"input": 5}, "input", "must be a string or a list"),
    ({"input": [5]}, "input", "input[0] is 5"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input", "'item_reference'"),
    ({"input": [{"role": "tool", "content": "x"}]}, "input", "input[0].role is 'tool'"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input", "takes only"),
    ({"input": [{"role": "user", "content": "x", "extra": 1}]}, "input", "'extra'"),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{"}]}, "input", "JSON"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input", "call_id"),
    ({"input": [{"type": "reasoning", "encrypted_content": "x"}]}, "input", "encrypted_content"),
    ({"input": "x" * 3000}, "input", "context"),
    ({"max_output_tokens": 0}, "max_output_tokens", "max_output_tokens is 0"),
    ({"max_output_tokens": 5000}, "max_output_tokens", "Lower max_output_tokens"),
    ({"n": 2}, "n", "no field"),
    ({"top_logprobs": 1}, "top_logprobs", "needs include"),
    ({"include": ["file_search_call.results"]}, "include", "message.output_text.logprobs"),
    ({"tools": [{"type": "web_search"}]}, "tools", 'only "function"'),
    ({"tools": [WEATHER]}, "tools", "reads no tool calls"),
    ({"tool_choice": "required"}, "tool_choice", "no tools"),
    ({"text": {"format": {"type": "xml"}}}, "text.format", "'xml'"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format", "a name and a schema"),
    ({"text": {"verbosity": "high"}}, "text.verbosity", "medium"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort", "no such efforts"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary", '"auto"'),
    ({"metadata": {"a": 1}}, "metadata.a", "string"),
    ({"stream_options": {"include_obfuscation": False}}, "stream_options", "needs stream"),
]


@pytest.mark.parametrize(("body", "param", "says"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_here_is_refused_by_name(server, body, param, says):
    response = server.post("/v1/responses", {"input": "Hi", **body})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["param"] == param
    assert says in error["message"]


def test_fields_without_effect_are_fine_at_their_neutral_values(server, answer):
    body = {
        "store": False,
        "background": False,
        "truncation": "disabled",
        "service_tier": "auto",
        "user": "ann",
        "prompt_cache_key": "k",
        "previous_response_id": None,
        "include": ["reasoning.encrypted_content"],
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": None, "summary": "auto"},
    }
    assert on_the_wire(server, **body)["output"][0]["content"][0]["text"] == answer


def test_errors_are_the_clients_typed_exceptions(server):
    with pytest.raises(openai.NotFoundError) as caught:
        server.client().responses.create(model="gpt-5", input="Hi")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        ask(server, temperature=-1)


def test_a_failure_before_the_first_event_has_a_status_and_a_later_one_is_an_event():
    with serving(lambda tokenizer, context, choice: 45, delay=0.02) as server:
        stream = ask(server, stream=True)
        assert next(stream).type == "response.created"
        server.backend.fail = True
        last = list(stream)[-1]
        assert last.type == "response.failed"
        assert last.response.status == "failed"
        assert "script says" in last.response.error.message
        with pytest.raises(openai.InternalServerError):
            ask(server, stream=True)
