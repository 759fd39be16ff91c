"""The demo model's chat template, and a renderer for it.

The form is ChatML with Hermes-style tool calls, as Qwen3 models use it. Tools are listed in one short
line each, since this model's context is small. Thinking is off unless `enable_thinking` is true: the
prompt then ends with an empty thought. Thoughts of earlier turns are left out.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

CHAT_TEMPLATE = r"""
{%- macro text_of(content) -%}
    {%- if content is string -%}
        {{- content -}}
    {%- elif content -%}
        {%- for part in content -%}{{- part.text -}}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{%- macro signature(tool) -%}
    {%- set function = tool.function if tool.function is defined else tool -%}
    {{- '- ' + function.name + '(' -}}
    {%- if function.parameters and function.parameters.properties -%}
        {%- for name, schema in function.parameters.properties.items() -%}
            {{- '' if loop.first else ', ' }}{{ name + ': ' + schema.get('type', 'any') | string -}}
        {%- endfor -%}
    {%- endif -%}
    {{- ')' -}}
    {%- if function.description %}{{- ': ' + function.description -}}{%- endif -%}
{%- endmacro -%}
{%- set has_system = messages and messages[0].role == 'system' -%}
{%- if has_system or tools -%}
    {{- '<|im_start|>system\n' -}}
    {%- if has_system %}{{- text_of(messages[0].content) -}}{%- endif -%}
    {%- if tools -%}
        {{- ('\n\n' if has_system else '') + 'Tools:' -}}
        {%- for tool in tools %}{{- '\n' + signature(tool) -}}{%- endfor -%}
    {%- endif -%}
    {{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set content = text_of(message.content) -%}
    {%- if message.role == 'tool' -%}
        {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' -}}{%- endif -%}
        {{- '\n<tool_response>\n' + content + '\n</tool_response>' -}}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' -}}{%- endif -%}
    {%- elif message.role == 'assistant' -%}
        {{- '<|im_start|>assistant\n' + content.split('</think>')[-1].lstrip('\n') -}}
        {%- for call in message.tool_calls or [] -%}
            {%- set function = call.function if call.function is defined else call -%}
            {{- '\n' if content or not loop.first else '' -}}
            {{- '<tool_call>\n{"name": ' + function.name | tojson + ', "arguments": ' -}}
            {{- function.arguments if function.arguments is string else function.arguments | tojson -}}
            {{- '}\n</tool_call>' -}}
        {%- endfor -%}
        {{- '<|im_end|>\n' -}}
    {%- elif not (loop.first and has_system) -%}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\n' -}}
    {%- if not enable_thinking %}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}
{%- endif -%}
""".strip()


@cache
def _compiled() -> Any:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(CHAT_TEMPLATE)


def render_prompt(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, thinking: bool) -> str:
    """The text that comes before the answer to the last message."""
    return _compiled().render(
        messages=messages, tools=tools or None, enable_thinking=thinking, add_generation_prompt=True
    )
