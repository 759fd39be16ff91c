"""What each field means to the sampler: zeros of the old fields, presence of the later ones."""

import asyncio
import math

import pytest

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.server.grpc.proto import StreamPredictRequest
from gradus.server.grpc.requests import check_lists, engine_request, labels_for_log, sampling_params
from gradus.server.settings import ServerSettings
from gradus.structured_outputs import StructuredOutputsParams
from tests.server.harness import say, toy_service

GenerationParameters = type(StreamPredictRequest().generation)
StructuredOutputs = type(GenerationParameters().structured_outputs)
MODEL_S_OWN = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.3}


def test_nothing_set_is_greedy_with_the_model_s_own_defaults():
    found = sampling_params(GenerationParameters(), MODEL_S_OWN)
    assert found == SamplingParams(**{**MODEL_S_OWN, "temperature": 0.0, "max_tokens": None})
    assert sampling_params(StreamPredictRequest().generation, {}) == SamplingParams(
        temperature=0.0, max_tokens=None
    )


def test_old_fields_that_are_set():
    message = GenerationParameters(max_new_tokens=7, temperature=0.25, top_p=0.5, repetition_penalty=1.1)
    assert sampling_params(message, MODEL_S_OWN) == SamplingParams(
        **{**MODEL_S_OWN, "max_tokens": 7, "temperature": 0.25, "top_p": 0.5, "repetition_penalty": 1.1}
    )


@pytest.mark.parametrize(
    ("field", "default"),
    [
        ("top_k", 20),
        ("min_p", 0.1),
        ("seed", None),
        ("min_tokens", 0),
        ("ignore_eos", False),
        ("presence_penalty", 0.0),
        ("frequency_penalty", 0.0),
        ("include_stop_str_in_output", False),
        ("skip_special_tokens", True),
    ],
)
def test_unset_is_the_default_and_zero_is_zero(field, default):
    assert getattr(sampling_params(GenerationParameters(), MODEL_S_OWN), field) == default
    zero = type(default)(0) if default is not None else 0
    assert getattr(sampling_params(GenerationParameters(**{field: zero}), MODEL_S_OWN), field) == zero


def test_lists_and_maps():
    message = GenerationParameters(
        stop=["a", "b"], stop_token_ids=[3], bad_words=["c"], logit_bias={5: -1.5}, seed=-3
    )
    assert sampling_params(message, {}) == SamplingParams(
        temperature=0.0,
        max_tokens=None,
        stop=["a", "b"],
        stop_token_ids=[3],
        bad_words=["c"],
        logit_bias={5: -1.5},
        seed=-3,
    )


def test_every_sampling_field_of_the_message_is_read():
    """A field that is added to the message and forgotten here would be ignored silently."""
    special = {"max_new_tokens": "max_tokens"}
    values = {"stop": ["a"], "stop_token_ids": [3], "bad_words": ["c"], "logit_bias": {5: -1.5}}
    values["structured_outputs"] = StructuredOutputs(regex="a")
    before = sampling_params(GenerationParameters(), {})
    for field in GenerationParameters.DESCRIPTOR.fields:
        name = special.get(field.name, field.name)
        value = values.get(field.name)
        if value is None:
            value = False if field.name == "skip_special_tokens" else 1 if field.type in (3, 5, 13) else True
            value = 0.5 if field.type == 1 else value
        after = sampling_params(GenerationParameters(**{field.name: value}), {})
        assert getattr(after, name) != getattr(before, name), field.name


def test_the_engine_s_request():
    service = toy_service(say("x"))
    inputs = service.inputs
    message = StreamPredictRequest(prompt="Hi", priority=-4)
    found = asyncio.run(engine_request(service, message, "id-1"))
    assert found.request_id == "id-1"
    assert found.prompt_token_ids == inputs.tokenizer.encode("Hi")
    assert found.priority == -4
    assert found.max_tokens == inputs.max_model_len - len(found.prompt_token_ids)
    assert math.isclose(found.params.temperature, 0)
    for add in (True, False):
        message.add_special_tokens = add
        expected = inputs.process("id", "Hi", SamplingParams(), add_special_tokens=add)
        request = asyncio.run(engine_request(service, message, "id"))
        assert request.prompt_token_ids == expected.prompt_token_ids


@pytest.mark.parametrize(
    "form",
    [
        {"json": '{"type":"object"}'},
        {"json": "true", "disable_any_whitespace": True},
        {"json_object": True, "whitespace_pattern": " *"},
        {"regex": "a+"},
        {"choice": ["yes", "no"]},
        {"grammar": 'start: "a"'},
    ],
)
def test_a_form_is_what_the_fields_say(form):
    message = GenerationParameters(structured_outputs=StructuredOutputs(**form))
    assert sampling_params(message, {}).structured_outputs == StructuredOutputsParams(**form)


@pytest.mark.parametrize(
    ("form", "param", "says"),
    [
        ({}, "structured_outputs", "exactly one of"),
        ({"regex": "a", "choice": ["b"]}, "structured_outputs", "regex and choice"),
        ({"json": "{"}, "structured_outputs.json", "not JSON"),
        ({"regex": ""}, "structured_outputs.regex", "non-empty"),
    ],
)
def test_a_form_that_cannot_be_is_refused_by_its_field(form, param, says):
    message = StreamPredictRequest(prompt="Hi")
    message.generation.structured_outputs.CopyFrom(StructuredOutputs(**form))
    with pytest.raises(InvalidRequestError, match=says) as caught:
        asyncio.run(engine_request(toy_service(say("x")), message, "id"))
    assert caught.value.param == f"generation.{param}"


def test_a_forms_size_is_capped():
    message = StreamPredictRequest(prompt="Hi")
    message.generation.structured_outputs.regex = "a" * 100
    with pytest.raises(InvalidRequestError, match="at most 50") as caught:
        check_lists(ServerSettings(max_schema_chars=50), message)
    assert caught.value.param == "generation.structured_outputs"


def test_labels_are_carried_to_the_log_as_far_as_they_are_set():
    message = StreamPredictRequest(worker_hint="w")
    message.metadata.player_id = "p"
    message.metadata.extra["k"] = "v"
    assert labels_for_log(message) == {"player_id": "p", "worker_hint": "w", "extra.k": "v"}
