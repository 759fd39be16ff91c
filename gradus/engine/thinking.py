"""`ThinkingLimit`: whether one choice has thought for as long as it may. Knows token ids, no text."""

from collections.abc import Sequence

from gradus.messages import ThinkingBudget


class ThinkingLimit:
    """One choice's thinking, from step to step."""

    def __init__(self, budget: ThinkingBudget, num_prompt_tokens: int) -> None:
        self._budget = budget
        self._num_prompt = num_prompt_tokens
        self._start = num_prompt_tokens + (0 if budget.is_open else 1)  # where thoughts begin
        self._is_over = False

    def is_reached(self, token_ids: Sequence[int]) -> bool:
        """Whether the closing mark has to come next; `token_ids` are the prompt and the output so far."""
        budget = self._budget
        if self._is_over or len(token_ids) < self._start + budget.num_tokens:
            return False
        has_begun = budget.is_open or token_ids[self._num_prompt] == budget.opening_id
        self._is_over = not has_begun or budget.closing_id in token_ids[self._start :]
        return not self._is_over
