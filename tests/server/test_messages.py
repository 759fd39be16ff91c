"""`/v1/messages` as Anthropic's official client sees it; its own types check what is on the wire."""

import asyncio
import json

import anthropic
import httpx
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.server.calling_model import ARGUMENTS, CALLS, SCHEMA, THOUGHT, endless_thought
from tests.server.chat_templates import QWEN3, THINKING, tokenizer_for
from tests.server.harness import MODEL, hosting_demo, say, serving

EVENT = TypeAdapter(RawMessageStreamEvent)
USER = [{"role": "user", "content": "What is the answer?"}]
WEATHER = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
CLOCK = {"name": "clock", "input_schema": {"type": "object"}}


@pytest.fixture(scope="module")
def demo():
    with hosting_demo(max_model_len=1024) as running:
        yield running


def client_of(server):
    return anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0, timeout=60)


def ask(server, messages=USER, max_tokens=400, **options):
    return client_of(server).messages.create(model=MODEL, messages=messages, max_tokens=max_tokens, **options)


def on_the_wire(server, **body):
    """The answer as it is sent, valid by the client's types."""
    response = server.post("/v1/messages", {"messages": USER, "max_tokens": 400, **body})
    assert response.status_code == 200, response.text
    Message.model_validate(response.json(), strict=True)
    return response.json()


def events_of(server, **body):
    """The events as they are sent, each valid by the client's types."""
    body = {"messages": USER, "max_tokens": 400, "stream": True, **body}
    with httpx.stream("POST", f"{server.url}/v1/messages", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        raw = b"".join(response.iter_raw()).decode()
    events = []
    for block in raw.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        EVENT.validate_json(data.removeprefix("data: "), strict=True)
    return events


def accumulate(events):
    """The published order of events; returns the content that they add up to."""
    assert events[0]["type"] == "message_start"
    assert events[0]["message"]["content"] == []
    assert events[0]["message"]["stop_reason"] is None
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    content, text = [], None
    for event in events[1:-2]:
        assert event["index"] == len(content)
        if event["type"] == "content_block_start":
            assert text is None
            text = ""
            block = event["content_block"]
            kind = block["type"]
        elif event["type"] == "content_block_delta":
            name = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}[kind]
            text += event["delta"][name]
        else:
            assert event["type"] == "content_block_stop"
            content.append(block | ({"input": json.loads(text)} if kind == "tool_use" else {kind: text}))
            text = None
    assert text is None
    return content


def without_ids(content):
    return [{name: value for name, value in block.items() if name != "id"} for block in content]


def test_an_answer_in_one_piece(server, answer):
    message = ask(server, system="Be brief.")
    assert message.id.startswith("msg_")
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert [block.text for block in message.content] == [answer]
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.output_tokens == len(server.tokenizer.encode(answer)) + 1
    assert message.usage.input_tokens > ask(server).usage.input_tokens


@pytest.mark.parametrize("kind", ["server", "calling", "thinking"])
def test_a_stream_tells_of_every_block_and_adds_up_to_the_whole(kind, request):
    server = request.getfixturevalue(kind)
    body = {} if kind == "server" else {"tools": [WEATHER, CLOCK]}
    events = events_of(server, **body)
    content = accumulate(events)
    whole = on_the_wire(server, **body)
    assert without_ids(content) == without_ids(whole["content"])
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert events[-2]["usage"] == whole["usage"]
    expected = {
        "server": (["text"], "end_turn"),
        "calling": (["text", "tool_use", "tool_use"], "tool_use"),
        "thinking": (["thinking", "text", "tool_use", "tool_use"], "tool_use"),
    }
    assert ([block["type"] for block in content], whole["stop_reason"]) == expected[kind]


def test_a_stream_is_told_as_it_comes(calling):
    deltas = [event for event in events_of(calling, tools=[WEATHER, CLOCK]) if "delta" in event]
    assert len(deltas) > 8


@pytest.mark.parametrize("kind", ["server", "calling", "thinking"])
def test_the_clients_own_accumulator_reads_the_stream(kind, request):
    server = request.getfixturevalue(kind)
    tools = [] if kind == "server" else [WEATHER, CLOCK]
    options = {"model": MODEL, "max_tokens": 400, "messages": USER, "tools": tools}
    with client_of(server).messages.stream(**options) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(block.text for block in final.content if block.type == "text") == text
    whole = ask(server, tools=tools)
    assert without_ids([block.to_dict() for block in final.content]) == without_ids(
        [block.to_dict() for block in whole.content]
    )
    assert final.stop_reason == whole.stop_reason


def test_the_async_client(calling):
    async def both():
        async with anthropic.AsyncAnthropic(base_url=calling.url, api_key="none", max_retries=0) as client:
            options = {"model": MODEL, "max_tokens": 400, "messages": USER, "tools": [WEATHER, CLOCK]}
            whole = await client.messages.create(**options)
            async with client.messages.stream(**options) as stream:
                return whole, await stream.get_final_message()

    whole, streamed = asyncio.run(both())
    assert [block.type for block in whole.content] == [block.type for block in streamed.content]
    assert whole.usage == streamed.usage


def test_calls_come_with_ids_and_input(calling):
    text, weather, clock = ask(calling, tools=[WEATHER, CLOCK]).content
    assert text.text == "I look. "
    assert (weather.name, weather.input) == ("weather", json.loads(ARGUMENTS))
    assert (clock.name, clock.input) == ("clock", {})
    assert weather.id.startswith("toolu_")
    assert weather.id != clock.id
    one = ask(
        calling, tools=[WEATHER, CLOCK], tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )
    assert [block.type for block in one.content].count("tool_use") == 1
    none = ask(calling, tools=[WEATHER], tool_choice={"type": "none"})
    assert [block.text for block in none.content] == [CALLS]


def test_a_call_that_the_limit_cuts_off_has_the_input_so_far(calling):
    tokens = calling.tokenizer.encode(CALLS[: CALLS.index('", "days"')])
    message = ask(calling, tools=[WEATHER], max_tokens=len(tokens))
    assert message.stop_reason == "max_tokens"
    assert message.content[1].input["city"].startswith("Zürich")


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_is_named(server, answer, stream):
    result = ask(server, stop_sequences=["zzz", "answer"], stream=stream)
    if stream:
        events = list(result)
        text = "".join(event.delta.text for event in events if event.type == "content_block_delta")
        stop = events[-2].delta
    else:
        text, stop = result.content[0].text, result
    assert text == answer[: answer.index("answer")]
    assert (stop.stop_reason, stop.stop_sequence) == ("stop_sequence", "answer")


@pytest.mark.parametrize("stream", [False, True])
def test_a_limit_is_the_reason_max_tokens(server, stream):
    result = ask(server, max_tokens=3, stream=stream)
    if stream:
        end = list(result)[-2]
        assert (end.delta.stop_reason, end.usage.output_tokens) == ("max_tokens", 3)
    else:
        assert (result.stop_reason, result.usage.output_tokens) == ("max_tokens", 3)


CONVERSATION = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "What time", "cache_control": {"type": "ephemeral"}}],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": ""},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "t1", "name": "clock", "input": {"zone": "UTC"}},
            {"type": "tool_use", "id": "t2", "name": "date", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "12:00"},
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [{"type": "text", "text": "no date"}],
                "is_error": True,
            },
            {"type": "text", "text": "And now?"},
        ],
    },
]


def test_blocks_are_the_conversation_that_chat_messages_are(calling):
    """The oracle is the chat route's reading of the same conversation."""

    def function(call_id, name, arguments):
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    messages = [
        {"role": "system", "content": "You are\na clock."},
        {"role": "user", "content": "What time"},
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm.",
            "tool_calls": [function("t1", "clock", '{"zone": "UTC"}'), function("t2", "date", "{}")],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "12:00"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no date"},
        {"role": "user", "content": "And now?"},
    ]
    functions = [
        {
            "type": "function",
            "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA},
        }
    ]
    count = calling.post("/tokenize", {"messages": messages, "tools": functions}).json()["count"]
    system = [{"type": "text", "text": "You are"}, {"type": "text", "text": "a clock."}]
    options = {"messages": CONVERSATION, "system": system, "tools": [WEATHER]}
    assert client_of(calling).messages.count_tokens(model=MODEL, **options).input_tokens == count
    usage = ask(calling, max_tokens=1, **options).usage
    assert usage.input_tokens + usage.cache_read_input_tokens == count


def test_cached_tokens_are_counted_apart_where_a_cache_is_asked_for(server):
    long = [{"role": "user", "content": "word " * 60}]
    first = ask(server, long, max_tokens=1).usage
    assert (first.cache_read_input_tokens, first.cache_creation_input_tokens) == (0, 0)
    assert ask(server, long, max_tokens=1).usage == first
    marked = ask(server, long, max_tokens=1, cache_control={"type": "ephemeral"}).usage
    assert marked.cache_read_input_tokens >= 16
    assert marked.input_tokens + marked.cache_read_input_tokens == first.input_tokens


def test_a_begun_reply_is_continued(server):
    """A last message of the assistant's is the reply's beginning: nothing comes between the two."""
    begun = [*USER, {"role": "assistant", "content": "The answer"}]
    chat = {"messages": begun, "continue_final_message": True}
    expected = server.post("/tokenize", chat).json()["count"]
    assert ask(server, begun, max_tokens=1).usage.input_tokens == expected
    blocks = [*USER, {"role": "assistant", "content": [{"type": "text", "text": "The answer"}]}]
    assert client_of(server).messages.count_tokens(model=MODEL, messages=blocks).input_tokens == expected


def test_thinking_is_off_unless_asked_for():
    with serving(say("Yes."), tokenizer=tokenizer_for(QWEN3)) as server:
        off = ask(server).usage.input_tokens  # the template closes the thinking
        assert ask(server, thinking={"type": "disabled"}).usage.input_tokens == off
        for on in ({"type": "adaptive"}, {"type": "enabled", "budget_tokens": 400}):
            assert ask(server, thinking=on).usage.input_tokens < off
        kwargs = {"chat_template_kwargs": {"enable_thinking": True}}
        assert ask(server, extra_body=kwargs).usage.input_tokens < off
        with pytest.raises(anthropic.BadRequestError, match="budget_tokens is 100; this model has no tokens"):
            ask(server, thinking={"type": "enabled", "budget_tokens": 100})
        with pytest.raises(anthropic.BadRequestError, match="budget_tokens is -1; it must be an integer"):
            ask(server, thinking={"type": "enabled", "budget_tokens": -1})
        with pytest.raises(anthropic.BadRequestError, match="mean the same"):
            ask(
                server,
                thinking={"type": "enabled", "budget_tokens": 400},
                extra_body={"thinking_token_budget": 1},
            )
        with pytest.raises(anthropic.BadRequestError, match="needs it"):
            ask(server, thinking={"type": "enabled"})


def test_thinking_is_ended_by_its_budget():
    tokenizer = tokenizer_for(THINKING, "<think>", "</think>")
    with serving(endless_thought, tokenizer=tokenizer) as server:
        message = ask(server, thinking={"type": "enabled", "budget_tokens": 9})
        assert [block.type for block in message.content] == ["thinking", "text"]
        assert message.content[0].thinking == "a" * 9
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens_details.thinking_tokens == 9 + 1


def test_thinking_blocks(thinking):
    message = ask(thinking)
    assert message.content[0].thinking == THOUGHT
    assert message.content[1].text == CALLS
    details = message.usage.output_tokens_details
    assert 0 < details.thinking_tokens < message.usage.output_tokens
    omitted = ask(thinking, thinking={"type": "adaptive", "display": "omitted"})
    assert [block.type for block in omitted.content] == ["thinking", "text"]
    assert omitted.content[0].thinking == ""
    with pytest.raises(anthropic.BadRequestError, match="always lets it think"):
        ask(thinking, thinking={"type": "disabled"})


def test_an_output_format_holds(demo):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    config = {"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}}
    options = {"model": "demo", "max_tokens": 200, "messages": [{"role": "user", "content": "JSON!"}]}
    message = client_of(demo).messages.create(**options, output_config=config)
    assert message.stop_reason == "end_turn"
    assert isinstance(json.loads(message.content[0].text)["ok"], bool)


def test_a_required_call_is_made(demo):
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]}
    lamp = {"name": "lamp", "input_schema": schema}
    for choice in ({"type": "any"}, {"type": "tool", "name": "lamp"}):
        message = client_of(demo).messages.create(
            model="demo",
            max_tokens=400,
            messages=[{"role": "user", "content": "Light!"}],
            tools=[lamp],
            tool_choice=choice,
        )
        assert message.stop_reason == "tool_use"
        assert isinstance(message.content[-1].input["on"], bool)


REFUSED = [
    ({"max_tokens": None}, "max_tokens is missing"),
    ({"max_tokens": 0}, "max_tokens is 0"),
    ({"max_tokens": 5000}, "Lower max_tokens"),
    ({"messages": "Hi"}, "must be a list"),
    ({"messages": []}, "at least one"),
    ({"messages": [5]}, "messages[0] is 5"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role is 'tool'"),
    ({"messages": [{"role": "user", "content": "x", "name": "n"}]}, "'name'"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "takes only"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "tool_use_id"),
    ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]}]}, "name is null"),
    ({"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking"}]}]}, "takes only"),
    ({"system": 5}, "system is 5"),
    ({"stop_sequences": [""]}, "stop_sequences"),
    ({"stop": ["x"]}, "no field of this endpoint"),
    ({"n": 2}, "no field of this endpoint"),
    ({"temperature": -1}, "temperature"),
    ({"top_k": 1.5}, "top_k"),
    ({"tools": [WEATHER]}, "reads no tool calls"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"name": "f"}]}, "input_schema"),
    ({"tools": [{**CLOCK, "defer_loading": True}]}, "defer_loading"),
    ({"tool_choice": {"type": "any"}}, "no tools"),
    ({"tool_choice": {"type": "all"}}, "'all'"),
    ({"thinking": {"type": "adaptive"}}, "does not think"),
    ({"thinking": {"type": "between_tools"}}, "'between_tools'"),
    ({"output_config": {"effort": "low"}}, "output_config.effort is 'low'"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
    ({"service_tier": "priority"}, "service_tier"),
    ({"container": "x"}, "container"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
]


@pytest.mark.parametrize(("body", "says"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_not_here_is_refused_by_name(server, body, says):
    response = server.post("/v1/messages", {"messages": USER, "max_tokens": 10, **body})
    assert response.status_code == 400, response.text
    error = response.json()
    assert set(error) == {"type", "error"}
    assert error["type"] == "error"
    assert error["error"]["type"] == "invalid_request_error"
    assert says in error["error"]["message"]


def test_fields_without_effect_are_fine_at_their_neutral_values(server, answer):
    body = {
        "metadata": {"user_id": "ann"},
        "service_tier": "auto",
        "tools": [],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "disabled"},
        "output_config": {"effort": "high"},
        "mcp_servers": [],
        "cache_control": {"type": "ephemeral", "ttl": "5m"},
    }
    assert on_the_wire(server, **body)["content"][0]["text"] == answer


def test_errors_are_the_clients_typed_exceptions():
    with serving(
        lambda tokenizer, context, choice: 45, delay=0.02, max_queued_requests=1, max_body_bytes=2000
    ) as server:
        client = client_of(server)
        with pytest.raises(anthropic.NotFoundError) as caught:
            client.messages.create(model="claude", max_tokens=5, messages=USER)
        assert caught.value.body["error"]["type"] == "not_found_error"
        with pytest.raises(anthropic.APIStatusError) as caught:
            ask(server, [{"role": "user", "content": "x" * 3000}])
        assert (caught.value.status_code, caught.value.type) == (413, "request_too_large")
        for method, path, kind in (("GET", "/v1/messages", 405), ("POST", "/v1/messages/batches", 404)):
            error = server.http.request(method, path).json()
            assert error["type"] == "error"
            assert server.http.request(method, path).status_code == kind
        stream = ask(server, stream=True)
        assert next(iter(stream)).type == "message_start"
        server.backend.fail = True
        with pytest.raises(anthropic.APIStatusError, match="script says") as caught:
            list(stream)
        assert caught.value.body["error"]["type"] == "api_error"
        with pytest.raises(anthropic.InternalServerError):
            ask(server)


def test_the_model_list_in_anthropics_words(server):
    [model] = client_of(server).models.list()
    assert (model.id, model.type, model.max_input_tokens) == (MODEL, "model", 1024)
    assert client_of(server).models.retrieve(MODEL).created_at.tzinfo is not None
