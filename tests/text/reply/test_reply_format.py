"""Which format a chat template shows, and what its parsers must see of a text."""

import json
from importlib.resources import files

import pytest

from gradus.errors import ConfigError
from gradus.text.reply.reply_format import ReplyFormat, choose_format
from tests.server.chat_templates import HERMES, LLAMA3, MISTRAL, QWEN3, THINKING, tokenizer_for
from tests.text.reply.parsing import message_of
from tests.text.toy_tokenizers import TEMPLATE

XML_CALLS = "{% if tools %}<tool_call>\n<function=name><parameter=x>{% endif %}"


@pytest.mark.parametrize(
    ("template", "tool_calls", "reasoning"),
    [
        (None, "none", "none"),
        (TEMPLATE, "none", "none"),
        (HERMES, "hermes", "think"),
        (HERMES.replace(".split('</think>') | last", ""), "hermes", "none"),
        (QWEN3, "hermes", "think"),
        (THINKING, "hermes", "think"),
        (LLAMA3, "llama3_json", "none"),
        (MISTRAL, "mistral", "none"),
        ("{{ tools }}[TOOL_CALLS]name[ARGS]", "mistral", "none"),
        (XML_CALLS, "none", "none"),
        ("{{ messages }} <tool_call> is what tools would need", "hermes", "none"),
        ("<tool_call> without the word", "none", "none"),
    ],
)
def test_the_template_shows_the_format(template, tool_calls, reasoning):
    found = choose_format(template)
    assert (found.tool_calls, found.reasoning) == (tool_calls, reasoning)


def test_the_operator_knows_better():
    assert choose_format(HERMES, "none", "none") == ReplyFormat("none", "none")
    assert choose_format(None, "mistral", "think") == ReplyFormat("mistral", "think")
    assert choose_format(HERMES, auto_tool_choice=False).auto_tool_choice is False
    with pytest.raises(ConfigError, match="tool_call_parser is 'pythonic'; it must be one of auto, hermes"):
        choose_format(None, "pythonic")
    with pytest.raises(ConfigError, match="reasoning_parser"):
        choose_format(None, "auto", "deepseek_r1")


def test_marks_that_are_special_tokens_are_shown_where_they_are_looked_for():
    tokenizer = tokenizer_for(MISTRAL, "[TOOL_CALLS]", "[ARGS]", "[INST]", "</think>")
    mistral = ReplyFormat("mistral", "think")
    names = {tokenizer.token_text(i) for i in mistral.special_marks(tokenizer, with_calls=True)}
    assert names == {"[TOOL_CALLS]", "[ARGS]", "</think>"}
    names = {tokenizer.token_text(i) for i in mistral.special_marks(tokenizer, with_calls=False)}
    assert names == {"</think>"}
    assert ReplyFormat("hermes").special_marks(tokenizer, with_calls=True) == frozenset()


def test_the_prompt_decides_whether_reasoning_is_open():
    thinking = ReplyFormat("none", "think")
    for prompt, reasoning, content in (
        ("user: <think>", "a", "b"),
        ("assistant: <think>\n", "a", "b"),
        ("assistant: <think>\n\n</think>\n\n", "", "a</think>b"),
        ("user: what is <think>? assistant:", "", "a</think>b"),
    ):
        message = message_of(thinking.parser(prompt), "a</think>b")
        assert (message.reasoning, message.content) == (reasoning, content)
    closed = message_of(thinking.parser("assistant: <think>\n\n</think>\n\n"), "<think>a</think>b")
    assert (closed.reasoning, closed.content) == ("", "<think>a</think>b")


def test_the_embedded_model_calls_in_hermes_format():
    config = json.loads(files("gradus.demo_model").joinpath("tokenizer_config.json").read_text())
    assert choose_format(config["chat_template"]) == ReplyFormat("hermes", "think")
