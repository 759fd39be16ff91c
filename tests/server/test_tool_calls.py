"""Tools in `/v1/chat/completions`, as the official client sees them."""

import json

import openai
import pytest

from gradus.text.reply.reply_format import ReplyFormat
from tests.server.chat_templates import HERMES, LLAMA3, MISTRAL, tokenizer_for
from tests.server.harness import MODEL, say, serving

USER = [{"role": "user", "content": "How is the weather in Zürich?"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = [WEATHER, CLOCK]
ARGUMENTS = '{"city": "Zürich 🌧 \\"old town\\"", "days": 3}'
CALLS = [("weather", ARGUMENTS), ("clock", "{}")]

FORMATS = {
    "hermes": (
        HERMES,
        (),
        "I look. ",
        f'I look. <tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
        '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
    ),
    "llama3_json": (
        LLAMA3,
        ("<|python_tag|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        None,
        f'<|python_tag|>{{"name": "weather", "parameters": {ARGUMENTS}}}; '
        '{"name": "clock", "parameters": {}}',
    ),
    "mistral": (
        MISTRAL,
        ("[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        None,
        f'[TOOL_CALLS][{{"name": "weather", "arguments": {ARGUMENTS}}}, '
        '{"name": "clock", "arguments": {}}]',
    ),
}


@pytest.fixture(scope="module", params=FORMATS)
def family(request):
    """A server of each model family, the content that comes before its calls, and what the model says."""
    template, special, content, text = FORMATS[request.param]
    with serving(say(text), tokenizer=tokenizer_for(template, *special), delay=0.002) as running:
        yield running, content


@pytest.fixture(scope="module")
def hermes():
    with serving(say(FORMATS["hermes"][3]), tokenizer=tokenizer_for(HERMES)) as running:
        yield running


def chat(server, messages=USER, **options):
    return server.client().chat.completions.create(model=MODEL, messages=messages, **options)


def accumulate(chunks):
    """What a client makes of a stream: content, calls and finish reason of each choice."""
    choices = {}
    for chunk in chunks:
        for choice in chunk.choices:
            seen = choices.setdefault(choice.index, {"content": "", "calls": [], "reason": None})
            assert seen["reason"] is None
            seen["content"] += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                if call.index == len(seen["calls"]):
                    assert call.id.startswith("call_")
                    assert call.type == "function"
                    seen["calls"].append([call.id, call.function.name, ""])
                else:
                    assert call.index == len(seen["calls"]) - 1
                    assert (call.id, call.type, call.function.name) == (None, None, None)
                seen["calls"][call.index][2] += call.function.arguments
            seen["reason"] = choice.finish_reason
    return choices


def test_calls_in_one_piece(family):
    server, content = family
    [choice] = chat(server, tools=TOOLS).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == content
    found = choice.message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in found] == CALLS
    assert all(call.type == "function" and call.id.startswith("call_") for call in found)
    assert len({call.id for call in found}) == 2


def test_a_stream_adds_up_to_the_same_calls(family):
    server, content = family
    chunks = list(chat(server, tools=TOOLS, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    [choice] = accumulate(chunks).values()
    assert choice["content"] == (content or "")
    assert [(name, arguments) for _, name, arguments in choice["calls"]] == CALLS
    assert choice["reason"] == "tool_calls"
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert len(pieces) > 6  # piece by piece, not all at the end


def test_the_clients_own_accumulator_reads_the_stream(hermes):
    with hermes.client().chat.completions.stream(model=MODEL, messages=USER, tools=TOOLS) as stream:
        message = stream.get_final_completion().choices[0].message
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == CALLS
    assert json.loads(message.tool_calls[0].function.arguments)["days"] == 3


def test_several_choices_call_each_for_itself(hermes):
    """Choice 0 calls; choice 1 leaves out the first character of the same text, choice 8 of the mark."""
    whole = chat(hermes, tools=TOOLS, n=9, stream=False).choices
    streamed = accumulate(chat(hermes, tools=TOOLS, n=9, stream=True))
    for choice in whole:
        same = streamed[choice.index]
        found = [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        assert found == [(name, arguments) for _, name, arguments in same["calls"]]
        assert (choice.message.content or "") == same["content"]
        assert choice.finish_reason == same["reason"] == "tool_calls"
    assert len(whole[0].message.tool_calls) == 2
    assert len(whole[8].message.tool_calls) == 2
    ids = [call.id for choice in whole for call in choice.message.tool_calls]
    assert len(set(ids)) == len(ids)


def test_logprobs_still_cover_every_token(hermes):
    usage = chat(hermes, tools=TOOLS).usage
    whole = chat(hermes, tools=TOOLS, logprobs=True).choices[0].logprobs.content
    chunks = list(chat(hermes, tools=TOOLS, logprobs=True, stream=True))
    streamed = [e for chunk in chunks if chunk.choices[0].logprobs for e in chunk.choices[0].logprobs.content]
    assert len(whole) == len(streamed) == usage.completion_tokens
    assert [entry.token for entry in whole] == [entry.token for entry in streamed]


def test_at_most_one_call_if_calls_are_not_to_be_parallel(family):
    server, _ = family
    whole = chat(server, tools=TOOLS, parallel_tool_calls=False).choices[0]
    assert [(call.function.name, call.function.arguments) for call in whole.message.tool_calls] == CALLS[:1]
    [choice] = accumulate(chat(server, tools=TOOLS, parallel_tool_calls=False, stream=True)).values()
    assert [(name, arguments) for _, name, arguments in choice["calls"]] == CALLS[:1]


def test_a_call_that_is_cut_off_says_so(hermes):
    text = FORMATS["hermes"][3]
    num_tokens = len(hermes.tokenizer.encode(text[: text.index("days")]))
    for stream in (False, True):
        result = chat(hermes, tools=TOOLS, max_tokens=num_tokens, stream=stream)
        if stream:
            [choice] = accumulate(result).values()
            found, reason = [call[2] for call in choice["calls"]], choice["reason"]
        else:
            found = [call.function.arguments for call in result.choices[0].message.tool_calls]
            reason = result.choices[0].finish_reason
        assert reason == "length"
        assert found[0]
        assert ARGUMENTS.startswith(found[0])


def test_no_tools_no_calls(hermes):
    for options in ({}, {"tools": TOOLS, "tool_choice": "none"}, {"tools": []}):
        choice = chat(hermes, **options).choices[0]
        assert choice.message.tool_calls is None
        assert choice.message.content == FORMATS["hermes"][3]
        assert choice.finish_reason == "stop"


def test_tools_are_shown_to_the_model_unless_it_is_not_to_call_them(hermes):
    plain = chat(hermes, max_tokens=1).usage.prompt_tokens
    assert chat(hermes, max_tokens=1, tools=TOOLS).usage.prompt_tokens > plain
    assert chat(hermes, max_tokens=1, tools=TOOLS, tool_choice="none").usage.prompt_tokens == plain
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CLOCK]}}
    some = chat(hermes, max_tokens=1, tools=TOOLS, tool_choice=allowed).usage.prompt_tokens
    assert some == chat(hermes, max_tokens=1, tools=[CLOCK]).usage.prompt_tokens


def test_a_tool_that_is_not_allowed_is_not_called(hermes):
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CLOCK]}}
    message = chat(hermes, tools=TOOLS, tool_choice=allowed).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["clock"]


def test_results_of_tools_go_back_to_the_model(family):
    """The whole round: the answer's own message and the results are the next request's."""
    server, _ = family
    message = chat(server, tools=TOOLS).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"ok": call.function.name})}
        for call in message.tool_calls
    ]
    conversation = [*USER, message.model_dump(exclude_none=True), *results]
    body = {"messages": conversation, "tools": TOOLS}
    tokens = server.post("/tokenize", body).json()["tokens"]
    prompt = server.post("/detokenize", {"tokens": tokens}).json()["prompt"]
    assert '"city": "Zürich 🌧 \\"old town\\""' in prompt
    assert '{"ok": "clock"}' in prompt
    answer = chat(server, conversation, tools=TOOLS)
    assert answer.usage.prompt_tokens == len(tokens)


def refusal(server, **options):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(server, **options)
    return caught.value.body


def function(**fields):
    return {"type": "function", "function": fields}


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        (["weather"], "tools[0] is 'weather'"),
        ([{"type": "web_search"}], "tools[0].type is 'web_search'; only \"function\""),
        ([CLOCK, {"type": "function"}], "tools[1].function is null"),
        ([function(name=5)], "tools[0].function is"),
        ([function(name="")], "1 to 64"),
        ([function(name="a b")], "'a b'"),
        ([function(name="x" * 65)], "1 to 64"),
        ([function(name="f", parameters=[])], "must be a JSON Schema"),
        ([function(name="f", parameters={"type": "string"})], "the type 'string'"),
        ([function(name="f", description=5)], "description of tool f is 5"),
        ([function(name="f", strict="yes")], "strict is 'yes'"),
        ([function(name="f", colour="red")], "'colour'"),
        ([{**CLOCK, "cache_control": {}}], "'cache_control'"),
        ([CLOCK, CLOCK], "two functions with the name clock"),
        ([function(name=f"f{i}") for i in range(129)], "at most 128"),
        ([function(name="f", description="x" * 70_000)], "at most 65,536"),
        ([function(name=f"f{i}", description="x" * 60_000) for i in range(9)], "at most 524,288"),
    ],
)
def test_tools_are_refused_by_name(hermes, tools, says):
    error = refusal(hermes, tools=tools)
    assert error["param"] == "tools"
    assert says in error["message"]


@pytest.mark.parametrize(
    ("choice", "says"),
    [
        ("maybe", "'maybe'"),
        (5, "tool_choice is 5"),
        ({"type": "function"}, "tool_choice.function is null"),
        ({"type": "function", "function": {"name": "rm"}}, "names the function 'rm'"),
        ({"type": "custom", "custom": {"name": "x"}}, "it must be"),
        ({"type": "allowed_tools"}, "allowed_tools is null"),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}, "a list of tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function(name="rm")]}},
            "'rm'",
        ),
    ],
)
def test_choices_are_refused_by_name(hermes, choice, says):
    error = refusal(hermes, tools=TOOLS, tool_choice=choice)
    assert error["param"] == "tool_choice"
    assert says in error["message"]


@pytest.mark.parametrize(
    ("arguments", "says"), [("{", "not JSON"), ("[1]", "must be a JSON object"), (5, "must be a JSON object")]
)
def test_arguments_that_are_no_object_are_refused(hermes, arguments, says):
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    response = hermes.post(
        "/v1/chat/completions", {"messages": [*USER, {"role": "assistant", "tool_calls": [call]}]}
    )
    assert response.status_code == 400
    assert says in response.json()["error"]["message"]


def test_the_model_decides_only_if_the_operator_lets_it():
    reply_format = ReplyFormat("hermes", auto_tool_choice=False)
    with serving(say("Hi"), tokenizer=tokenizer_for(HERMES), reply_format=reply_format) as server:
        assert "--no-enable-auto-tool-choice" in refusal(server, tools=TOOLS)["message"]
        assert chat(server, tools=TOOLS, tool_choice="none").choices[0].message.content == "Hi"
