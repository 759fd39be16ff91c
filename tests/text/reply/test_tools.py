"""Tools: what can be declared, and what a template is shown."""

import pytest

from gradus.errors import InvalidRequestError
from gradus.text.reply.tools import MAX_TOOLS, FunctionTool, ToolChoice, check_tools

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_templates_are_shown_openais_form():
    assert FunctionTool(name="f", description="d", parameters=SCHEMA, strict=True).for_template() == {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": SCHEMA},
    }
    assert FunctionTool(name="f").for_template() == {
        "type": "function",
        "function": {"name": "f", "parameters": {}},
    }


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": ""}, "1 to 64"),
        ({"name": "a b"}, "'a b'"),
        ({"name": "ä"}, "'ä'"),
        ({"name": None}, "null"),
        ({"name": "f", "description": 1}, "description of tool f is 1"),
        ({"name": "f", "parameters": "x"}, "must be a JSON Schema"),
        ({"name": "f", "parameters": {"type": "array"}}, "the type 'array'"),
        ({"name": "f", "parameters": {"type": ["object", "null"]}}, 'only "object" works'),
        ({"name": "f", "parameters": {"x": "y" * 70_000}}, "at most 65,536"),
    ],
)
def test_what_no_function_has_is_refused(fields, says):
    with pytest.raises(InvalidRequestError, match="tool") as caught:
        FunctionTool(**fields)
    assert says in str(caught.value)
    assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("tools", "choice", "says", "param"),
    [
        ([f"f{i}" for i in range(MAX_TOOLS + 1)], ToolChoice(), "at most 128", "tools"),
        (["f", "g", "f"], ToolChoice(), "two functions with the name f", "tools"),
        (["f"], ToolChoice("required", "g"), "'g', which is not among the tools: f", "tool_choice"),
        ([], ToolChoice("required"), "there are no tools", "tool_choice"),
    ],
)
def test_what_cannot_be_together_is_refused(tools, choice, says, param):
    with pytest.raises(InvalidRequestError) as caught:
        check_tools([FunctionTool(name=name) for name in tools], choice)
    assert says in str(caught.value)
    assert caught.value.param == param


def test_what_is_right_is_let_through():
    tools = [FunctionTool(name=name) for name in ("get_weather", "mcp.search-2")]
    for choice in (
        ToolChoice("none"),
        ToolChoice(),
        ToolChoice("required"),
        ToolChoice("required", "get_weather"),
    ):
        check_tools(tools, choice)
    check_tools([], ToolChoice())
