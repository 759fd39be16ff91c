"""What a form may be: each refusal names the field and the numbers."""

import json

import pytest

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.structured_outputs import (
    MAX_CHOICES,
    MAX_REGEX_CHARS,
    MAX_SCHEMA_CHARS,
    MAX_SCHEMA_DEPTH,
    StructuredOutputsParams,
)


def refusal(**form) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        StructuredOutputsParams(**form)
    return caught.value


def nested(depth: int) -> dict:
    schema: dict = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def test_a_schema_is_kept_as_text_with_its_keys_in_order():
    schema = {"type": "object", "properties": {"z": {"const": "é"}, "a": {}}}
    form = StructuredOutputsParams(json=schema)
    assert list(json.loads(form.json)["properties"]) == ["z", "a"]
    assert form == StructuredOutputsParams(json=json.dumps(schema, indent=4))
    assert hash(form) == hash(StructuredOutputsParams(json=json.dumps(schema)))
    assert form != StructuredOutputsParams(
        json={"type": "object", "properties": {"a": {}, "z": {"const": "é"}}}
    )
    assert form != StructuredOutputsParams(json=schema, disable_any_whitespace=True)


@pytest.mark.parametrize(
    "form", [{}, {"json_object": False}, {"regex": "a", "choice": ["a"]}, {"json": {}, "json_object": True}]
)
def test_exactly_one_form(form):
    error = refusal(**form)
    assert "exactly one of json, json_object, regex, choice, grammar" in str(error)
    assert error.param == "structured_outputs"


@pytest.mark.parametrize(
    ("form", "param", "words"),
    [
        ({"json": "{"}, "json", "is not JSON"),
        ({"json": "[1]"}, "json", "must be a JSON Schema"),
        ({"json": 5}, "json", "must be a JSON Schema"),
        ({"json": {"const": float("nan")}}, "json", "cannot be written as JSON"),
        ({"json": {"const": {1, 2}}}, "json", "cannot be written as JSON"),
        ({"json": {"const": "\ud800"}}, "json", "U+D800"),
        ({"regex": ""}, "regex", "non-empty string"),
        ({"regex": 5}, "regex", "non-empty string"),
        ({"regex": "a" * (MAX_REGEX_CHARS + 1)}, "regex", f"{MAX_REGEX_CHARS + 1:,} characters"),
        ({"grammar": ["start"]}, "grammar", "non-empty string"),
        ({"choice": []}, "choice", "at least one"),
        ({"choice": "yes"}, "choice", "list of non-empty strings"),
        ({"choice": ["a", ""]}, "choice", "list of non-empty strings"),
        ({"choice": ["a"] * (MAX_CHOICES + 1)}, "choice", f"{MAX_CHOICES + 1:,} strings"),
        (
            {"regex": "a", "disable_any_whitespace": True},
            "disable_any_whitespace",
            "json and json_object only",
        ),
        ({"json": {}, "disable_any_whitespace": 1}, "disable_any_whitespace", "true or false"),
        (
            {"json": {}, "disable_any_whitespace": True, "whitespace_pattern": " "},
            "whitespace_pattern",
            "give one of them",
        ),
    ],
)
def test_what_cannot_be_a_form_is_refused_by_name(form, param, words):
    error = refusal(**form)
    assert error.param == f"structured_outputs.{param}"
    assert error.param in str(error) or "structured_outputs has" in str(error)
    assert words in str(error)


def test_schemas_have_a_greatest_depth_and_size():
    StructuredOutputsParams(json=nested(MAX_SCHEMA_DEPTH))
    assert f"more than {MAX_SCHEMA_DEPTH} levels" in str(refusal(json=nested(MAX_SCHEMA_DEPTH + 1)))
    assert f"more than {MAX_SCHEMA_DEPTH} levels" in str(refusal(json="[" * 100_000))
    endless: dict = {}
    endless["items"] = endless
    assert "levels" in str(refusal(json=endless))
    many = {"enum": ["x" * 98] * (MAX_SCHEMA_CHARS // 100)}
    assert f"at most {MAX_SCHEMA_CHARS:,} characters" in str(refusal(json=many))
    assert f"at most {MAX_SCHEMA_CHARS:,} characters" in str(refusal(json=" " * 10_000_000 + "{}"))
    wide = {"enum": [[1] * 1000] * 1000}
    assert f"more than {MAX_SCHEMA_CHARS:,} parts" in str(refusal(json=wide))


def test_errors_use_the_requests_own_name_of_the_field():
    error = refusal(json=5, field="response_format.json_schema.schema")
    assert error.param == "response_format.json_schema.schema"


def test_sampling_params_take_forms_and_nothing_else():
    form = StructuredOutputsParams(regex="a")
    assert SamplingParams(structured_outputs=form).structured_outputs is form
    with pytest.raises(InvalidRequestError, match="structured_outputs"):
        SamplingParams(structured_outputs={"regex": "a"})
