"""The corpus on the embedded model: what ends with "stop" is valid, and nearly all of it ends in time.

The oracle is the jsonschema package, formats included as far as it checks them.
"""

import json

import jsonschema
import pytest

from gradus.sampling_params import SamplingParams
from gradus.structured_outputs import StructuredOutputsParams
from tests.structured.corpus import CORPUS

MAX_TOKENS = 512
SHARE_THAT_ENDS = 0.95


def generate(llm, schemas, temperature, **form):
    """One answer for each schema, from its name as the question."""
    prompts = [
        llm.chat_prompt([{"role": "user", "content": f"Give me one {name.replace('-', ' ')} as JSON."}])
        for name in schemas
    ]
    params = [
        SamplingParams(
            temperature=temperature,
            seed=1,
            max_tokens=MAX_TOKENS,
            structured_outputs=StructuredOutputsParams(json=schema, **form),
        )
        for schema in schemas.values()
    ]
    return [request.outputs[0] for request in llm.generate(prompts, params, use_tqdm=False)]


def check(text, schema):
    validator = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(json.loads(text))


def test_the_corpus_is_large_and_its_schemas_are_schemas():
    assert len(CORPUS) >= 100
    assert len({json.dumps(schema) for schema in CORPUS.values()}) >= 100
    for schema in CORPUS.values():
        jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator).check_schema(schema)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_ends_with_stop_is_valid_and_nearly_all_does(llm, temperature):
    ended = []
    for (name, schema), output in zip(CORPUS.items(), generate(llm, CORPUS, temperature), strict=True):
        assert output.finish_reason in ("stop", "length")
        if output.finish_reason == "stop":
            ended.append(name)
            check(output.text, schema)
    assert len(ended) >= SHARE_THAT_ENDS * len(CORPUS), set(CORPUS) - set(ended)


def test_other_space_between_the_parts_is_valid_too(llm):
    some = {name: CORPUS[name] for name in ("person", "array-of-objects", "nested-2", "weather-call")}
    for form in ({"disable_any_whitespace": True}, {"whitespace_pattern": r"\n {0,4}"}):
        for schema, output in zip(some.values(), generate(llm, some, 0.0, **form), strict=True):
            check(output.text, schema)
            if "disable_any_whitespace" in form:
                compact = json.dumps(json.loads(output.text), separators=(",", ":"), ensure_ascii=False)
                assert len(output.text) == len(compact)
