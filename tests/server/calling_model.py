"""A model that calls functions: what it says, and the parts of that which tests look for."""

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = '{"city": "Zürich 🌧 \\"old town\\"", "days": 3}'
THOUGHT = "7 = 7 · 1,\n\nso < hm >"
CALLS = (
    f'I look. <tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
)
