"""`SamplingParams` accepts what it documents and names field, value and range for anything else."""

import math

import pytest

from gradus.errors import InvalidRequestError
from gradus.sampling_params import MAX_SEED, SamplingParams

OUT_OF_RANGE = [
    ("n", [0, -1, 129, 1.0, True, "1", None]),
    ("temperature", [-0.1, 100.5, math.nan, math.inf, "hot", True, None]),
    ("top_p", [0.0, -0.5, 1.01, math.nan, "all", None]),
    ("top_k", [-2, 2**31, 0.5, None]),
    ("seed", [2**63, -(2**63) - 1, 1.5, "x", True]),
    ("max_tokens", [0, -5, 2.0, 2**31, False]),
    ("logprobs", [-1, 21, 1.5, True]),
    ("ignore_eos", [1, None, "yes"]),
    ("stop", ["", [""], [1], ["a"] * 33, ["x" * 1025], {"a": 1}]),
    ("stop_token_ids", [[-1], ["a"], [True], 5, [0] * 257]),
    ("min_p", [-0.1, 1.1, math.nan, None, "0"]),
    ("min_tokens", [-1, 1.0, None, True]),
    ("prompt_logprobs", [-1, 21, 1.5, True]),
    ("presence_penalty", [-2.1, 2.1, math.inf, None]),
    ("frequency_penalty", [-2.1, 2.1, math.nan, "1"]),
    ("repetition_penalty", [0, -1, 100.1, math.inf, None]),
    ("allowed_token_ids", [[], [-1], [True], 5, ["a"], [0] * (2**18 + 1)]),
    ("bad_words", [[""], [1], ["a"] * 257, ["x" * 257]]),
    ("include_stop_str_in_output", [1, None]),
    ("skip_special_tokens", [0, None]),
    ("spaces_between_special_tokens", ["no", None]),
    ("thinking_token_budget", [-1, 1.0, True, "few", 2**31]),
]


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in OUT_OF_RANGE for v in values])
def test_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(InvalidRequestError) as refused:
        SamplingParams(**{field: value})
    assert refused.value.param == field
    assert str(refused.value).startswith(f"{field} is ")


LOGIT_BIASES = [
    ([1], "must be a mapping"),
    ({"a": 1}, "has the key 'a'"),
    ({-1: 1}, "has the key -1"),
    ({"-1": 1}, "has the key '-1'"),
    ({True: 1}, "has the key true"),
    ({2**31: 1}, "has the key"),
    ({"9" * 5000: 1}, "has the key"),
    ({1: 101}, "logit_bias[1] is 101; it must be a number from -100 to 100"),
    ({1: None}, "logit_bias[1] is null"),
    ({1: math.nan}, "logit_bias[1] is nan"),
    ({"1": 1, 1: 2}, "twice"),
    (dict.fromkeys(range(1025), 1), "1025 entries and may have at most 1024"),
]


@pytest.mark.parametrize(("value", "says"), LOGIT_BIASES, ids=range(len(LOGIT_BIASES)))
def test_a_logit_bias_is_refused_by_its_entry(value, says):
    with pytest.raises(InvalidRequestError) as refused:
        SamplingParams(logit_bias=value)
    assert refused.value.param == "logit_bias"
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


def test_lists_are_normalised():
    assert SamplingParams(logit_bias={"5": 1, 6: -2}).logit_bias == {5: 1.0, 6: -2.0}
    assert SamplingParams(allowed_token_ids=[3, 4]).allowed_token_ids == (3, 4)
    assert SamplingParams(bad_words="x", allowed_token_ids=None, logit_bias=None).bad_words == ("x",)
    assert SamplingParams(bad_words=None).bad_words == ()


def test_the_edges_of_every_range_work():
    SamplingParams(n=1, temperature=0, top_p=1, top_k=-1, seed=-MAX_SEED - 1, max_tokens=1, logprobs=0)
    SamplingParams(
        presence_penalty=-2, frequency_penalty=2, repetition_penalty=100, min_p=1, min_tokens=2**31 - 1
    )
    SamplingParams(
        n=128, temperature=100.0, top_p=1e-9, top_k=2**31 - 1, seed=MAX_SEED, max_tokens=None, logprobs=20
    )


def test_stop_is_normalised_to_a_tuple():
    assert SamplingParams(stop="END").stop == ("END",)
    assert SamplingParams(stop=["a", "b"], stop_token_ids=[1]).stop == ("a", "b")
    assert SamplingParams(stop=None, stop_token_ids=None).stop_token_ids == ()


def test_a_long_value_is_shortened_in_the_message():
    with pytest.raises(InvalidRequestError) as refused:
        SamplingParams(stop=["x" * 100_000])
    assert len(str(refused.value)) < 300


def test_assignment_is_checked_too():
    params = SamplingParams()
    params.max_tokens = 5
    assert params.max_tokens == 5
    with pytest.raises(InvalidRequestError, match="max_tokens is 0"):
        params.max_tokens = 0
    assert params.max_tokens == 5
    with pytest.raises(AttributeError):
        params.max_token = 5


def test_numbers_are_floats_whatever_was_given():
    assert isinstance(SamplingParams(temperature=1, top_p=1).temperature, float)
    with pytest.raises(InvalidRequestError):
        SamplingParams(temperature=10**400)
