"""Minimal chat templates in the shapes of three model families, and tokenizers that know special tokens."""

import json

from tests.text.toy_tokenizers import byte_level_json, toy_tokenizer

HERMES = """\
{%- if tools %}<|im_start|>system
Tools:{% for tool in tools %} {{ tool | tojson }}{% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
    {%- if message.role == 'tool' %}<|im_start|>user
<tool_response>{{ message.content }}</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content.split('</think>') | last }}
        {%- for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_SWITCH = "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
QWEN3 = HERMES.removesuffix("{% endif %}") + _SWITCH + "{% endif %}"  # thinks unless told not to
THINKING = HERMES.removesuffix("{% endif %}") + "<think>\n{% endif %}"  # always thinks

LLAMA3 = """\
{%- for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{% if tools and message.role == 'user' %}{% for tool in tools %}{{ tool | tojson }} {% endfor %}
Answer with {"name": ..., "parameters": ...}.
{% endif %}{{ message.content }}
    {%- for call in message.tool_calls or [] -%}
        {"name": "{{ call.function.name }}", "parameters": {{ call.function.arguments | tojson }}}
    {%- endfor %}<|eot_id|>
{%- endfor %}
{%- if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

MISTRAL = """\
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}[INST]{{ message.content }}[/INST]
    {%- elif message.role == 'tool' %}
        {%- if message.tool_call_id | length != 9 %}{{ raise_exception('a bad id') }}{% endif -%}
        [TOOL_RESULTS]{{ message.tool_call_id }}:{{ message.content }}[/TOOL_RESULTS]
    {%- else %}{{ message.content }}
        {%- for call in message.tool_calls or [] -%}
            [TOOL_CALLS][{"id": "{{ call.id }}", "name": "{{ call.function.name }}", "arguments":{{ ' ' }}
            {{- call.function.arguments | tojson }}}]
        {%- endfor %}<|im_end|>
    {%- endif %}
{%- endfor %}"""


def tokenizer_for(template, *special):
    """A toy tokenizer with this template, and with these as special tokens."""
    built = json.loads(byte_level_json())
    first = 1 + max(token["id"] for token in built["added_tokens"])
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    for i, content in enumerate(special):
        built["added_tokens"].append({"id": first + i, "content": content, "special": True, **flags})
    return toy_tokenizer(
        json.dumps(built), eos_token="<|im_end|>", bos_token="<|endoftext|>", chat_template=template
    )
