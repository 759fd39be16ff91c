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
]


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in OUT_OF_RANGE for v in values])
def test_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(InvalidRequestError) as refused:
        SamplingParams(**{field: value})
    assert refused.value.param == field
    assert str(refused.value).startswith(f"{field} is ")


def test_the_edges_of_every_range_work():
    SamplingParams(n=1, temperature=0, top_p=1, top_k=-1, seed=-MAX_SEED - 1, max_tokens=1, logprobs=0)
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
