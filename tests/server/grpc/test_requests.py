"""What each field means to the sampler: zeros of the old fields, presence of the later ones."""

import math

import pytest

from gradus.sampling_params import SamplingParams
from gradus.server.grpc.proto import StreamPredictRequest
from gradus.server.grpc.requests import engine_request, labels_for_log, sampling_params
from tests.server.harness import say, toy_service

GenerationParameters = type(StreamPredictRequest().generation)
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
    inputs = toy_service(say("x")).inputs
    message = StreamPredictRequest(prompt="Hi", priority=-4)
    found = engine_request(inputs, message, "id-1")
    assert found.request_id == "id-1"
    assert found.prompt_token_ids == inputs.tokenizer.encode("Hi")
    assert found.priority == -4
    assert found.max_tokens == inputs.max_model_len - len(found.prompt_token_ids)
    assert math.isclose(found.params.temperature, 0)
    for add in (True, False):
        message.add_special_tokens = add
        expected = inputs.process("id", "Hi", SamplingParams(), add_special_tokens=add)
        assert engine_request(inputs, message, "id").prompt_token_ids == expected.prompt_token_ids


def test_labels_are_carried_to_the_log_as_far_as_they_are_set():
    message = StreamPredictRequest(worker_hint="w")
    message.metadata.player_id = "p"
    message.metadata.extra["k"] = "v"
    assert labels_for_log(message) == {"player_id": "p", "worker_hint": "w", "extra.k": "v"}
