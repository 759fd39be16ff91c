"""`/v1/chat/completions` as the official client sees it."""

import json

import httpx
import pytest

from tests.server.harness import MODEL

USER = [{"role": "user", "content": "What is the answer?"}]


def chat(client, **options):
    return client.chat.completions.create(model=MODEL, messages=USER, **options)


def test_an_answer_in_one_piece(client, server, answer):
    result = chat(client)
    assert result.id.startswith("chatcmpl-")
    assert result.object == "chat.completion"
    assert result.model == MODEL
    [choice] = result.choices
    assert choice.message.role == "assistant"
    assert choice.message.content == answer
    assert choice.finish_reason == "stop"
    assert choice.logprobs is None
    usage = result.usage
    assert (
        usage.completion_tokens == len(server.tokenizer.encode(answer)) + 1
    )  # and the end-of-sequence token
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_prompt_is_what_the_template_makes_of_the_messages(client, server):
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]},
        {"role": "assistant", "content": "3"},
        {"role": "user", "content": "Four", "name": "ann"},
    ]
    text = (
        "<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nOne\nTwo<|im_end|>"
        "<|im_start|>assistant\n3<|im_end|><|im_start|>user\nFour<|im_end|><|im_start|>assistant\n"
    )
    ids = server.tokenizer.encode(text, add_special_tokens=False)
    assert server.post("/tokenize", {"messages": messages}).json()["tokens"] == ids
    result = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)
    assert result.usage.prompt_tokens == len(ids)


def test_a_stream_has_the_role_first_the_reason_last_and_the_same_text(client, answer):
    chunks = list(chat(client, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.object == "chat.completion.chunk" for chunk in chunks)


def test_a_stream_counts_tokens_at_its_end_if_asked(client, server):
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == []
    assert chunks[-1].usage == chat(client).usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len(chunks[-2].choices) == 1


def test_the_wire_format_of_a_stream(server):
    body = {"messages": USER, "stream": True}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
        raw = b"".join(response.iter_raw())
    events = raw.decode("utf-8").split("\n\n")
    assert events[-1] == ""
    assert events[-2] == "data: [DONE]"
    for line in events[:-2]:
        assert line.startswith("data: {")
        json.loads(line.removeprefix("data: "))


def test_several_choices_interleave_by_index(client, answer):
    texts, roles = ["", "", ""], [0, 0, 0]
    reasons = [None] * 3
    for chunk in chat(client, n=3, stream=True):
        [choice] = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] += choice.delta.role == "assistant"
        reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert texts == [answer, answer[1:], answer[2:]]
    assert roles == [1, 1, 1]
    assert reasons == ["stop"] * 3
    whole = chat(client, n=3)
    assert [choice.message.content for choice in whole.choices] == texts
    assert whole.usage.prompt_tokens == chat(client).usage.prompt_tokens
    assert whole.usage.completion_tokens > 2 * chat(client).usage.completion_tokens


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_ends_with_reason_length(client, name):
    result = chat(client, **{name: 3})
    assert result.choices[0].finish_reason == "length"
    assert result.usage.completion_tokens == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["answer", ["zzz", "answer", "is 42"]])
def test_a_stop_string_ends_the_text_before_it(client, server, answer, stream, stop):
    expected = answer[: answer.index("answer")]
    result = chat(client, stop=stop, stream=stream)
    if stream:
        chunks = list(result)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == expected
        choice = chunks[-1].choices[0]
    else:
        choice = result.choices[0]
        assert choice.message.content == expected
        kept = server.tokenizer.encode(answer)
        while "answer" in server.tokenizer.decode(kept[:-1]):
            kept.pop()
        assert result.usage.completion_tokens == len(kept)
    assert choice.finish_reason == "stop"
    assert choice.stop_reason == "answer"
    server.wait_until_idle()


def test_stop_token_ids_and_ignored_ends(client, server, answer):
    comma = server.tokenizer.encode("!")[0]
    result = chat(client, extra_body={"stop_token_ids": [comma]})
    assert result.choices[0].message.content == answer[: answer.index("!")]
    assert result.choices[0].stop_reason == comma
    goes_on = chat(client, max_tokens=100, extra_body={"ignore_eos": True})
    assert goes_on.choices[0].finish_reason == "length"
    assert goes_on.usage.completion_tokens == 100


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_cover_every_token_with_its_bytes(client, server, answer, stream):
    result = chat(client, logprobs=True, top_logprobs=2, stream=stream)
    if stream:
        content = [
            entry
            for chunk in result
            if chunk.choices[0].logprobs
            for entry in chunk.choices[0].logprobs.content
        ]
    else:
        content = result.choices[0].logprobs.content
    assert len(content) == len(server.tokenizer.encode(answer)) + 1
    assert b"".join(bytes(entry.bytes) for entry in content[:-1]).decode() == answer
    assert content[-1].token == "<|im_end|>"
    for entry in content:
        assert entry.logprob == -0.25
        assert [top.logprob for top in entry.top_logprobs] == [-0.25, -1.25]
        assert entry.top_logprobs[0].token == entry.token


def test_logprobs_without_alternatives(client):
    content = chat(client, logprobs=True, max_tokens=2).choices[0].logprobs.content
    assert [entry.top_logprobs for entry in content] == [[], []]


def test_template_variables_reach_the_template(server):
    body = {"messages": USER, "add_generation_prompt": False}
    with_turn = server.post("/tokenize", {"messages": USER}).json()["count"]
    assert server.post("/tokenize", body).json()["count"] < with_turn
    usage = server.post("/v1/chat/completions", {**body, "max_tokens": 1}).json()["usage"]
    assert usage["prompt_tokens"] < with_turn
    given = {"messages": USER, "chat_template_kwargs": {"enable_thinking": False}, "max_tokens": 1}
    assert server.post("/v1/chat/completions", given).status_code == 200


def test_the_last_message_is_continued(server):
    """The prompt ends where the message does: neither the end of its turn follows nor the next turn."""
    begun = [*USER, {"role": "assistant", "content": "The answer"}]
    body = {"messages": begun, "continue_final_message": True}
    tokens = server.post("/tokenize", body).json()["tokens"]
    whole = server.post("/tokenize", {"messages": begun}).json()["tokens"]
    assert server.tokenizer.decode(tokens, skip_special_tokens=False).endswith("The answer")
    assert whole[: len(tokens)] == tokens
    usage = server.post("/v1/chat/completions", {**body, "max_tokens": 1}).json()["usage"]
    assert usage["prompt_tokens"] == len(tokens)


@pytest.mark.parametrize(
    ("messages", "more", "says"),
    [
        (USER, {}, "must be the assistant's"),
        ([*USER, {"role": "assistant", "content": ""}], {}, "a text to go on from"),
        ([*USER, {"role": "assistant", "content": "a"}], {"add_generation_prompt": True}, "both true"),
    ],
)
def test_what_cannot_be_continued_is_refused(server, messages, more, says):
    body = {"messages": messages, "continue_final_message": True, **more}
    answer = server.post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "continue_final_message"
    assert says in answer.json()["error"]["message"]


def test_a_second_turn_finds_its_prefix_in_the_cache(client):
    long = [{"role": "user", "content": "word " * 60}]
    first = client.chat.completions.create(model=MODEL, messages=long, max_tokens=1).usage
    second = client.chat.completions.create(model=MODEL, messages=long, max_tokens=1).usage
    assert second.prompt_tokens == first.prompt_tokens
    assert 0 < second.prompt_tokens_details.cached_tokens < second.prompt_tokens


def test_fields_without_effect_are_accepted_at_the_values_that_say_so(server, answer):
    body = {
        "messages": [
            *USER,
            {"role": "assistant", "content": "a", "refusal": None, "tool_calls": None},
            *USER,
        ],
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "user": "ann",
        "metadata": {"a": "b"},
        "store": False,
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "tool_choice": "none",
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "functions": [],
        "function_call": "none",
        "modalities": ["text"],
        "safety_identifier": "x",
        "prompt_cache_key": "y",
        "verbosity": "medium",
        "audio": None,
        "prediction": None,
        "seed": None,
        "stop": None,
        "stream_options": None,
        "reasoning_effort": None,
        "model": None,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "temperature": 1,
    }
    response = server.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == answer


def test_earlier_tool_calls_are_part_of_the_conversation(server):
    messages = [
        *USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    assert server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1}).status_code == 200
