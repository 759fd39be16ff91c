"""Models that call functions or think: what they say, and the parts of that which tests look for."""

from tests.server.harness import EOS

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = '{"city": "Zürich 🌧 \\"old town\\"", "days": 3}'
THOUGHT = "7 = 7 · 1,\n\nso < hm >"
CALLS = (
    f'I look. <tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
)
SAID = "Yes, 7 is a prime."


def endless_thought(tokenizer, context, choice):
    """Thinks until it is stopped, then answers."""
    closing = tokenizer.token_id("</think>")
    script = [*tokenizer.encode(f"\n\n{SAID}"), EOS]
    if closing not in context:
        return tokenizer.encode("a")[0]
    return script[len(context) - 1 - context.index(closing)]
