"""Forms other than schemas, on the embedded model, and how they meet the other parameters."""

import json
import re

import pytest

from gradus.errors import RequestFailedError
from gradus.sampling_params import SamplingParams
from gradus.structured_outputs import StructuredOutputsParams
from tests.structured.corpus import CORPUS


def outputs(llm, *forms, prompt="Say something:", **params):
    params = {"temperature": 1.0, "seed": 3, "max_tokens": 64, **params}
    batch = [SamplingParams(structured_outputs=form, **params) for form in forms]
    return [
        output
        for request in llm.generate([prompt] * len(forms), batch, use_tqdm=False)
        for output in request.outputs
    ]


@pytest.mark.parametrize(
    "expression",
    [
        r"\d{3}-\d{4}",
        "(yes|no), (sir|madam)[.!]",
        r"[A-Z][a-z]{2,8}( [A-Z][a-z]{2,8})?",
        r"a/b\\c\"d[/]",
        "é+ß{2}",
    ],
)
def test_a_regex_is_matched_as_a_whole(llm, expression):
    for output in outputs(llm, StructuredOutputsParams(regex=expression), n=4):
        assert output.finish_reason == "stop"
        assert re.fullmatch(expression, output.text), output.text


def test_a_choice_is_one_of_the_strings(llm):
    strings = ["red", "redder", 'say "no"', "línea\nnueva", "北京", "a\\b", "1 + 1"]
    found = outputs(llm, StructuredOutputsParams(choice=strings), n=24)
    assert {output.finish_reason for output in found} == {"stop"}
    assert {output.text for output in found} <= set(strings)
    assert len({output.text for output in found}) > 1


def test_a_lark_grammar_with_a_schema_inside(llm):
    grammar = """
        start: "<tool_call>" call ("," call)? "</tool_call>"
        call: %json {"type": "object", "properties": {"f": {"enum": ["x", "y"]}, "n": {"type": "integer",
            "minimum": 0, "maximum": 99}}, "required": ["f", "n"], "additionalProperties": false}
    """
    for output in outputs(llm, StructuredOutputsParams(grammar=grammar), n=4):
        assert output.finish_reason == "stop"
        inner = re.fullmatch("<tool_call>(.*)</tool_call>", output.text, re.DOTALL)[1]
        for call in json.loads(f"[{inner}]"):
            assert call["f"] in ("x", "y")
            assert 0 <= call["n"] <= 99


def test_any_json_object(llm):
    for output in outputs(llm, StructuredOutputsParams(json_object=True), n=4, max_tokens=200):
        assert isinstance(json.loads(output.text), dict)
        assert output.finish_reason == "stop"


@pytest.mark.parametrize("schema", [True, {}])
def test_a_schema_of_anything_gives_json(llm, schema):
    (output,) = outputs(llm, StructuredOutputsParams(json=schema))
    assert output.finish_reason == "stop"
    json.loads(output.text)


def test_a_text_is_closed_before_max_tokens_cuts_it_off(llm):
    form = StructuredOutputsParams(json={"type": "array", "items": {"type": "string"}, "minItems": 3})
    for max_tokens in (24, 40, 100, 300):
        (output,) = outputs(llm, form, max_tokens=max_tokens)
        assert output.finish_reason == "stop"
        assert len(output.token_ids) <= max_tokens
        assert len(json.loads(output.text)) >= 3
    (output,) = outputs(llm, form, max_tokens=4)  # the shortest such text is longer
    assert output.finish_reason == "length"


def test_without_ends_of_sequence_a_text_goes_on_for_as_long_as_it_can(llm):
    digits, word = StructuredOutputsParams(regex="[0-9]{1,12}"), StructuredOutputsParams(choice=["red"])
    long, short = outputs(llm, digits, word, ignore_eos=True)
    assert (len(long.text), long.finish_reason) == (12, "stop")
    assert (short.text, short.finish_reason) == ("red", "stop")


def test_masks_and_biases_of_the_request_hold_too(llm):
    token = llm.get_tokenizer().token_id
    choice = StructuredOutputsParams(choice=["a", "b", "c"])
    (output,) = outputs(llm, choice, logit_bias={token("a"): -100, token("c"): -100})
    assert output.text == "b"
    (output,) = outputs(llm, choice, bad_words=["a", "b"])
    assert output.text == "c"
    with pytest.raises(RequestFailedError, match="no token can come next"):
        outputs(llm, choice, allowed_token_ids=[token("x")])


def test_tokens_are_the_same_whether_those_without_a_choice_are_sampled_or_not(llm):
    schema = CORPUS["invoice"]
    params = [
        SamplingParams(
            temperature=1.0,
            seed=seed,
            max_tokens=200,
            logprobs=logprobs,
            structured_outputs=StructuredOutputsParams(json=schema),
        )
        for seed in range(4)
        for logprobs in (None, 0)  # with logprobs every token is sampled
    ]
    found = [
        request.outputs[0].token_ids for request in llm.generate(["An invoice: "] * 8, params, use_tqdm=False)
    ]
    assert found[::2] == found[1::2]
    steps = []
    for which in (params[0], params[1]):
        before = llm.stats().num_steps
        llm.generate("An invoice: ", which, use_tqdm=False)
        steps.append(llm.stats().num_steps - before)
    assert steps[0] < steps[1] == len(found[0])


def test_nobody_elses_tokens_change(llm):
    prompts = [f"Question {i}:" for i in range(4)]
    free = SamplingParams(temperature=0.9, seed=5, max_tokens=40)
    bound = SamplingParams(
        temperature=0.9, seed=5, max_tokens=40, structured_outputs=StructuredOutputsParams(json_object=True)
    )
    alone = [request.outputs[0].token_ids for request in llm.generate(prompts, free, use_tqdm=False)]
    params = [param for _ in prompts for param in (free, bound)]
    doubled = [prompt for prompt in prompts for _ in range(2)]
    mixed = [request.outputs[0].token_ids for request in llm.generate(doubled, params, use_tqdm=False)]
    assert mixed[::2] == alone
    bound_alone = [llm.generate(prompt, bound, use_tqdm=False)[0].outputs[0].token_ids for prompt in prompts]
    assert mixed[1::2] == bound_alone
    assert mixed[1::2] != mixed[::2]
