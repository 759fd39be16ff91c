"""Who is let in, and what the others are told."""

import pytest

from gradus.errors import ContextOverflowError, InvalidRequestError
from tests.engine.harness import MAX_MODEL_LEN, VOCAB_SIZE, make_core, make_request, run_and_check


def test_a_context_overflow_names_the_numbers_and_the_way_out():
    core = make_core()
    with pytest.raises(
        ContextOverflowError, match=r"20 tokens and max_tokens is 10.*30.*24.*max_tokens to 4 or"
    ) as e:
        core.add_request(make_request(prompt=[1] * 20, max_tokens=10))
    assert e.value.param == "max_tokens"
    with pytest.raises(ContextOverflowError, match="Shorten the prompt"):
        core.add_request(make_request(prompt=[1] * MAX_MODEL_LEN, max_tokens=1))
    run_and_check(core, [make_request(prompt=[1] * 20, max_tokens=4)])


def test_a_request_that_the_kv_cache_can_never_hold_is_refused_with_the_numbers():
    core = make_core(num_blocks=3)
    with pytest.raises(
        ContextOverflowError, match=r"together 13; the KV cache holds 12 \(3 blocks of 4\).*to 7 or"
    ):
        core.add_request(make_request(prompt=[1] * 5, max_tokens=8))
    with pytest.raises(ContextOverflowError, match="Shorten the prompt to 11 tokens"):
        core.add_request(make_request(prompt=[1] * 12, max_tokens=1))
    run_and_check(core, [make_request(prompt=[1] * 5, max_tokens=7)])


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], "empty"),
        ([1, VOCAB_SIZE], f"token id {VOCAB_SIZE}; ids are 0 to {VOCAB_SIZE - 1}"),
        ([1, -1], "token id -1"),
        ([1, 2**70], "not a list of token ids"),
        ([1, 2.5], "not a list of token ids"),
        ([1, "2"], "not a list of token ids"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_is_refused(prompt, message):
    core = make_core()
    with pytest.raises(InvalidRequestError, match=message) as e:
        core.add_request(make_request(prompt=prompt))
    assert e.value.param == "prompt"
    assert not core.has_unfinished_requests


def test_max_tokens_below_one_is_refused():
    with pytest.raises(InvalidRequestError, match="max_tokens is 0"):
        make_core().add_request(make_request(max_tokens=0))


def test_an_id_in_flight_is_refused_until_its_last_update_was_handed_out():
    core = make_core()
    core.add_request(make_request("a"))
    with pytest.raises(InvalidRequestError, match="'a' is in flight"):
        core.add_request(make_request("a"))
    core.abort("a")
    with pytest.raises(InvalidRequestError, match="in flight"):
        core.add_request(make_request("a"))
    assert [update.finish_reason for update in core.step()] == ["abort"]
    run_and_check(core, [make_request("a")])


def test_the_callers_prompt_is_not_the_engines():
    request = make_request(prompt=[1, 2, 3], max_tokens=3)
    run_and_check(make_core(), [request])
    assert request.prompt_token_ids == [1, 2, 3]
