"""The template environment, against transformers where installed; what goes wrong is a refused request."""

import pytest
import transformers

from gradus.errors import InvalidRequestError
from gradus.text import chat_template
from gradus.text.chat_template import ChatTemplate

MESSAGES = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": '你好 <b>&"quoted"</b>\n'},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"},
    {"role": "user", "content": "Again?"},
]
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "x": "<é>"}}}]

CHATML = """{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- if tools %}
    {%- for tool in tools %}
        {{- tool | tojson }}
    {%- endfor %}
    {{- tools | tojson(indent=2) }}
{%- endif %}
{%- set ns = namespace(last=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' %}{% continue %}{% endif %}
    {%- set ns.last = loop.index0 %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- if loop.index > 8 %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

TEMPLATES = {
    "chatml": CHATML,
    "blocks": "{% for m in messages %}\n  {% if m.role %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\nx\n",
    "special": "{{ bos_token }}{% for m in messages %}{{ m['content'] | trim }}{{ eos_token }}{% endfor %}",
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "undefined": "{{ nothing }}{% if tools is none %}no tools{% endif %}{{ messages | length }}",
    "date": "{{ strftime_now('%Y') }}",
    "products": "{{ '=' * 20 }}{{ 3 * 4 }}{{ 2 ** 10 }}{{ 2 ** -1 }}{{ 1.5 * 2 }}{{ 3 * 'ab' }}",
    "dict": "{{ messages[0] | tojson(sort_keys=True, separators=(',', ':')) }}{{ messages[1].items()|list }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("kwargs", [{}, {"enable_thinking": False}])
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_transformers_renders_the_same(byte_level_text, name, tools, kwargs, add_generation_prompt):
    from tests.text.toy_tokenizers import fast_of

    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=fast_of(byte_level_text), **special)
    expected = theirs.apply_chat_template(
        MESSAGES,
        tools=tools,
        chat_template=TEMPLATES[name],
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
        **kwargs,
    )
    ours = ChatTemplate(TEMPLATES[name], special)
    options = {"tools": tools, "template_kwargs": kwargs, "add_generation_prompt": add_generation_prompt}
    assert ours.render(MESSAGES, **options) == expected


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("begun", ["Well, 2 + 2 is", "end", "  spaced  \n"])
def test_transformers_continues_a_message_in_the_same_way(byte_level_text, name, begun):
    from tests.text.toy_tokenizers import fast_of

    special = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=fast_of(byte_level_text), **special)
    messages = [*MESSAGES, {"role": "assistant", "content": begun}]
    options = {"chat_template": TEMPLATES[name], "continue_final_message": True, "tokenize": False}
    try:
        expected = theirs.apply_chat_template(messages, **options)
    except ValueError:  # the template does not write the last message
        with pytest.raises(InvalidRequestError, match="does not write the last message"):
            ChatTemplate(TEMPLATES[name], special).render(messages, continue_final_message=True)
    else:
        assert (
            ChatTemplate(TEMPLATES[name], special).render(messages, continue_final_message=True) == expected
        )


def test_a_conversation_as_models_expect_it():
    text = ChatTemplate(CHATML).render(MESSAGES[:2], template_kwargs={"enable_thinking": False})
    assert text == (
        "<|im_start|>system\nYou are brief.<|im_end|>\n"
        '<|im_start|>user\n你好 <b>&"quoted"</b>\n<|im_end|>\n'
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_json_is_not_escaped_for_html():
    assert ChatTemplate("{{ tools | tojson }}").render(MESSAGES, tools=[{"a": "<é>'"}]) == '[{"a": "<é>\'"}]'


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{ raise_exception('roles must alternate') }}", "refuses the messages: roles must alternate"),
        ("{{ messages[9].content }}", "failed on the messages: UndefinedError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{% for i in range(10000000) %}{% endfor %}", "Range too big"),
        ("{{ 9 ** (9 ** 9) }}", "OverflowError"),
        ("{{ 'abc' * 10 ** 9 }}", "OverflowError"),
        ("{{ 10 ** 9 * [1] }}", "OverflowError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{% if %}", "cannot be compiled"),
        ("{{ include }}{% include 'x' %}", "failed on the messages"),
    ],
)
def test_whatever_a_template_does_wrong_is_a_refused_request(source, says):
    with pytest.raises(InvalidRequestError, match=says) as caught:
        ChatTemplate(source).render(MESSAGES)
    assert caught.value.param == "messages"


def test_time_is_capped(monkeypatch):
    template = ChatTemplate("{% for i in range(1000) %}{{ i }}{% endfor %}")
    assert template.render(MESSAGES)
    monkeypatch.setattr(chat_template, "MAX_RENDER_SECONDS", -1.0)
    with pytest.raises(InvalidRequestError, match="was not done after"):
        template.render(MESSAGES)


def test_sizes_are_capped(monkeypatch):
    monkeypatch.setattr(chat_template, "MAX_PROMPT_CHARS", 1000)
    template = ChatTemplate("{% for i in range(1000) %}{{ messages[0].content }}{% endfor %}")
    with pytest.raises(InvalidRequestError, match="longer than 1,000 characters"):
        template.render([{"role": "user", "content": "abc"}])
    with pytest.raises(InvalidRequestError, match="may have at most 4,096"):
        template.render(MESSAGES * 2000)
    with pytest.raises(InvalidRequestError, match="at least one message"):
        template.render([])


@pytest.mark.parametrize("name", ["messages", "tools", "add_generation_prompt", "eos_token"])
def test_template_variables_cannot_replace_those_of_the_server(name):
    with pytest.raises(InvalidRequestError, match=f"sets {name}") as caught:
        ChatTemplate("x", {"eos_token": "e"}).render(MESSAGES, template_kwargs={name: 1})
    assert caught.value.param == "chat_template_kwargs"
