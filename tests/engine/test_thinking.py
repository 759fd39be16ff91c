"""The budget of thinking: when the closing mark is forced, and that it is forced once."""

import pytest

from gradus.engine.thinking import ThinkingLimit
from gradus.messages import ThinkingBudget
from tests.engine.harness import make_request
from tests.engine.test_logit_edits import edits_by_step

OPEN, CLOSE = 5, 6
PROMPT = [1, OPEN]


def forced_at(output, num_tokens, *, is_open, prompt=PROMPT):
    """Lengths of the output after which the closing mark has to come."""
    budget = ThinkingBudget(num_tokens=num_tokens, opening_id=OPEN, closing_id=CLOSE, is_open=is_open)
    limit = ThinkingLimit(budget, len(prompt))
    return [n for n in range(len(output) + 1) if limit.is_reached([*prompt, *output[:n]])]


@pytest.mark.parametrize("num_tokens", [0, 1, 3])
def test_thoughts_that_the_prompt_has_opened(num_tokens):
    thoughts = [9] * num_tokens
    assert forced_at([*thoughts, CLOSE, 9, 9, 9, 9], num_tokens, is_open=True) == [num_tokens]
    assert forced_at([9, 9, CLOSE, 9, 9], 3, is_open=True) == []  # ended by itself


@pytest.mark.parametrize("num_tokens", [0, 1, 3])
def test_thoughts_that_the_output_opens(num_tokens):
    output = [OPEN, *[9] * num_tokens, CLOSE, 9, OPEN, 9, 9, 9, 9]
    assert forced_at(output, num_tokens, is_open=False) == [1 + num_tokens]
    assert forced_at([9, OPEN, 9, 9, 9, 9, 9], num_tokens, is_open=False) == []  # an answer about the mark


def test_a_mark_in_the_prompt_is_not_one_of_the_output():
    assert forced_at([9, 9, CLOSE, 9], 2, is_open=True, prompt=[OPEN, CLOSE, 1, OPEN]) == [2]


def test_several_tokens_may_come_at_once():
    """As forced tokens of a grammar do."""
    budget = ThinkingBudget(num_tokens=2, opening_id=OPEN, closing_id=CLOSE, is_open=True)
    limit = ThinkingLimit(budget, 1)
    assert limit.is_reached([1, 9, 9, 9])
    assert not limit.is_reached([1, 9, 9, 9, CLOSE, 9])
    assert not limit.is_reached([1, 9, 9, 9, CLOSE, 9, 9])


def test_only_the_mark_is_left_where_the_budget_is_used_up():
    budget = ThinkingBudget(num_tokens=2, opening_id=OPEN, closing_id=CLOSE, is_open=True)
    allowed = [edit["allowed"] for _, edit in edits_by_step(make_request(max_tokens=4, thinking=budget))]
    assert allowed[:3] == [[], [], [CLOSE]]  # no mask, no mask, a mask


def test_a_mask_that_forbids_the_mark_goes_first():
    budget = ThinkingBudget(num_tokens=1, opening_id=OPEN, closing_id=CLOSE, is_open=True)
    request = make_request(max_tokens=3, thinking=budget, allowed_token_ids=[7, 8])
    assert [edit["allowed"] for _, edit in edits_by_step(request)] == [[7, 8]] * 3


def test_a_mask_that_allows_the_mark_is_narrowed_to_it():
    budget = ThinkingBudget(num_tokens=0, opening_id=OPEN, closing_id=CLOSE, is_open=True)
    request = make_request(max_tokens=1, thinking=budget, allowed_token_ids=[CLOSE, 7])
    assert [edit["allowed"] for _, edit in edits_by_step(request)] == [[CLOSE]]
