"""What a request wants to know about its prompt's own rows: logprobs of its tokens, or their hidden states.

A row that was found in the prefix cache has neither, so the scheduler computes such rows anew. They may be
computed in any chunks, and again after a preemption; each is taken once, in order, so that nothing depends on
how they came. Knows results, nothing of scheduling.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradus.batch import NOTHING, Float32, StepResult
from gradus.engine.results import token_logprobs
from gradus.messages import AboutPrompt, EngineRequest, TokenLogprobs

NO_LOGPROBS = "the model gave no finite logits for a token of the prompt"
NO_HIDDEN_STATES = "the model gave no finite hidden states"


class PromptRows:
    """The rows of positions `num_taken` to `end - 1` are still wanted."""

    def __init__(self, request: EngineRequest) -> None:
        num_prompt = len(request.prompt_token_ids)
        self._is_pooling = request.pooling is not None
        self._num_top = request.params.prompt_logprobs or 0
        # The row of a prompt's last token scores the first generated one, which is not of the prompt.
        self.end = num_prompt if self._is_pooling else num_prompt - 1
        self.num_taken = num_prompt - 1 if request.pooling == "last" else 0
        self._logprobs: list[TokenLogprobs] = []
        self._hidden_sum: NDArray[np.float64] | None = None
        self._num_summed = 0

    @staticmethod
    def wanted_by(request: EngineRequest) -> bool:
        return request.pooling is not None or request.params.prompt_logprobs is not None

    @property
    def is_complete(self) -> bool:
        return self.num_taken >= self.end

    def wanted(self, start: int, stop: int) -> range:
        """The wanted ones among the positions that a step computes."""
        return range(max(start, self.num_taken), min(stop, self.end))

    def target(self, token_ids: Sequence[int], position: int) -> int:
        """What the backend shall do with the row; see `SamplingBatch.targets`."""
        return NOTHING if self._is_pooling else token_ids[position + 1]

    def take(self, result: StepResult, row: int) -> str | None:
        """Take what a result says of the next wanted row; where that is unusable, return what is wrong."""
        if not self._is_pooling:
            if result.num_sampled[row] == 0:
                return NO_LOGPROBS
            self._logprobs += token_logprobs(result, row, 1, self._num_top)
        elif result.hidden is None or not np.isfinite(result.hidden[row]).all():
            return NO_HIDDEN_STATES
        else:
            self._add(result.hidden[row])
        self.num_taken += 1
        return None

    def _add(self, hidden: Float32) -> None:
        """One row's hidden state, [hidden_size]. Summed row by row, so that chunks change nothing."""
        self._num_summed += 1
        row = hidden.astype(np.float64)
        self._hidden_sum = row if self._hidden_sum is None else self._hidden_sum + row

    @property
    def result(self) -> AboutPrompt:
        """The logprobs, or the mean of the hidden states taken, which for pooling "last" is one."""
        if not self._is_pooling:
            return AboutPrompt(logprobs=self._logprobs)
        if self._hidden_sum is None:
            raise ValueError("no hidden state was taken")
        return AboutPrompt(embedding=(self._hidden_sum / self._num_summed).tolist())
