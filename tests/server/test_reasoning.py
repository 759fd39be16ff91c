"""Reasoning in `/v1/chat/completions`: apart from the answer, under both of its names, counted in tokens."""

import pytest

from gradus.text.reply.reply_format import ReplyFormat
from tests.server.calling_model import endless_thought
from tests.server.chat_templates import HERMES, QWEN3, THINKING, tokenizer_for
from tests.server.harness import MODEL, hosting_demo, say, serving
from tests.server.test_tool_calls import CLOCK, accumulate

USER = [{"role": "user", "content": "Is 7 a prime?"}]
THOUGHT, ANSWER = "7 = 7 · 1,\n\nso < hm >", "Yes, 7 is a prime."
TEXT = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
CALL = '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'


@pytest.fixture(scope="module")
def server():
    """Generates the opening mark itself; choice 1 leaves out the first character of it, and so on."""
    with serving(say(TEXT), tokenizer=tokenizer_for(QWEN3, "</think>")) as running:
        yield running


@pytest.fixture(scope="module")
def opened():
    """The template writes the opening mark."""
    with serving(say(f"{THOUGHT}\n</think>\n\n{ANSWER}{CALL}"), tokenizer=tokenizer_for(THINKING)) as running:
        yield running


def chat(server, **options):
    return server.client().chat.completions.create(model=MODEL, messages=USER, **options)


def read_stream(chunks):
    reasoning, content = "", ""
    for chunk in chunks:
        for choice in chunk.choices:
            extra = choice.delta.model_extra
            assert extra.get("reasoning") == extra.get("reasoning_content")
            reasoning += extra.get("reasoning") or ""
            content += choice.delta.content or ""
    return reasoning, content


def test_reasoning_is_apart_from_the_answer(server):
    message = chat(server).choices[0].message
    assert message.content == ANSWER
    assert message.reasoning == message.reasoning_content == THOUGHT
    assert read_stream(chat(server, stream=True)) == (THOUGHT, ANSWER)


def test_reasoning_that_the_template_has_opened(opened):
    for tools, content, called in (([], ANSWER + CALL, 0), ([CLOCK], ANSWER, 1)):
        choice = chat(opened, tools=tools).choices[0]
        assert choice.message.reasoning == THOUGHT
        assert choice.message.content == content
        assert len(choice.message.tool_calls or []) == called
        chunks = list(chat(opened, tools=tools, stream=True))
        assert read_stream(chunks) == (THOUGHT, content)
        [streamed] = accumulate(chunks).values()
        assert len(streamed["calls"]) == called
        assert streamed["reason"] == choice.finish_reason == ("tool_calls" if called else "stop")


def test_reasoning_can_be_left_out_of_the_answer(server):
    without = {"include_reasoning": False}
    message = chat(server, extra_body=without).choices[0].message
    assert message.content == ANSWER
    assert "reasoning" not in message.model_extra
    chunks = list(chat(server, stream=True, extra_body=without))
    assert read_stream(chunks) == ("", ANSWER)


def test_tokens_of_the_reasoning_are_counted(server):
    """All up to and including the closing mark, as the tokenizer has them."""
    expected = len(server.tokenizer.encode(TEXT[: TEXT.index("</think>") + len("</think>")]))
    assert chat(server).usage.completion_tokens_details.reasoning_tokens == expected
    chunks = list(chat(server, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == expected
    # Choice 1 does not start with the mark, so it is an answer to the last character.
    two = chat(server, n=2)
    assert two.usage.completion_tokens_details.reasoning_tokens == expected
    assert two.choices[1].message.reasoning is None


def test_tokens_are_not_counted_where_the_closing_mark_is_not_one(opened):
    """Its tokenizer spells the mark out, so no token says where the reasoning ends."""
    assert chat(opened).usage.completion_tokens_details is None


def test_reasoning_that_is_cut_off_is_reasoning(server):
    choice = chat(server, max_tokens=8).choices[0]
    assert choice.finish_reason == "length"
    assert choice.message.content == ""
    assert THOUGHT.startswith(choice.message.reasoning)
    assert choice.message.reasoning


def test_earlier_reasoning_reaches_the_template():
    template = "{% for m in messages %}{{ m.role }}:{{ m.reasoning_content or '' }}|{% endfor %}"
    with serving(say("x"), tokenizer=tokenizer_for(template)) as server:
        for name in ("reasoning", "reasoning_content"):
            messages = [*USER, {"role": "assistant", "content": "No.", name: "because"}, *USER]
            tokens = server.post("/tokenize", {"messages": messages}).json()["tokens"]
            assert server.tokenizer.decode(tokens) == "user:|assistant:because|user:|"


def test_thinking_is_switched_off_by_the_template(server):
    plain = chat(server, max_tokens=1).usage.prompt_tokens
    for body in ({"chat_template_kwargs": {"enable_thinking": False}}, {"reasoning_effort": "none"}):
        assert chat(server, max_tokens=1, extra_body=body).usage.prompt_tokens > plain
    error = server.post("/v1/chat/completions", {"messages": USER, "reasoning_effort": "high"}).json()[
        "error"
    ]
    assert error["param"] == "reasoning_effort"
    assert "enable_thinking" in error["message"]


def test_an_effort_is_for_templates_that_know_it():
    template = "{{ reasoning_effort }}{{ messages[0].content }}"
    with serving(say("x"), tokenizer=tokenizer_for(template)) as server:
        low = chat(server, reasoning_effort="low").usage.prompt_tokens
        assert low < chat(server, reasoning_effort="a very high one").usage.prompt_tokens


def test_without_a_parser_the_text_is_the_models():
    reply_format = ReplyFormat("hermes", "none")
    with serving(say(TEXT), tokenizer=tokenizer_for(HERMES), reply_format=reply_format) as server:
        message = chat(server).choices[0].message
        assert message.content == TEXT
        assert "reasoning" not in message.model_extra


@pytest.fixture(scope="module")
def stopped():
    with serving(endless_thought, tokenizer=tokenizer_for(THINKING, "<think>", "</think>")) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_ended_by_its_budget(stopped, stream):
    body = {"thinking_token_budget": 12}
    answer = chat(stopped, extra_body=body, stream=stream)
    if stream:
        assert read_stream(answer) == ("a" * 12, ANSWER)
    else:
        assert (answer.choices[0].message.reasoning, answer.choices[0].message.content) == ("a" * 12, ANSWER)
        assert answer.usage.completion_tokens_details.reasoning_tokens == 12 + 1  # and the mark
    assert chat(stopped, max_tokens=40).choices[0].finish_reason == "length"


def test_a_budget_needs_tokens_for_the_marks(opened):
    body = {"messages": USER, "thinking_token_budget": 12}
    answer = opened.post("/v1/chat/completions", body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "thinking_token_budget"


@pytest.fixture(scope="module")
def demo():
    with hosting_demo() as running:
        yield running


def test_a_budget_holds_in_plain_prompts(demo):
    """On the embedded model, which samples by itself: the same thoughts, up to the budget."""
    prompt = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n<think>\n"
    texts = []
    for budget in (None, 3):
        body = {"prompt": prompt, "max_tokens": 30, "thinking_token_budget": budget, "logprobs": 0}
        texts.append(demo.post("/v1/completions", body).json()["choices"][0]["logprobs"]["tokens"])
    assert "</think>" not in texts[0][:4]
    assert texts[1][:4] == [*texts[0][:3], "</think>"]


@pytest.mark.parametrize("thinks", [False, True])
def test_a_budget_holds_beside_the_form_of_an_answer(demo, thinks):
    body = {
        "messages": USER,
        "n": 8,
        "temperature": 1.0,
        "seed": 1,
        "structured_outputs": {"choice": ["yes", "no"]},
        "chat_template_kwargs": {"enable_thinking": thinks},
        "thinking_token_budget": 2,
    }
    answer = demo.post("/v1/chat/completions", body).json()
    assert {choice["message"]["content"] for choice in answer["choices"]} <= {"yes", "no"}
    thoughts = [choice["message"].get("reasoning") for choice in answer["choices"]]
    assert any(thoughts) == thinks
    # The opening mark, two tokens and the closing mark, at most, for each choice.
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] <= 4 * 8 * thinks
