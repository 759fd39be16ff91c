"""Conversations: each turn's prompt repeats the turn before and its reply, and is sent when that has ended.

The repeated replies are made up beforehand, as when a recorded conversation is played back: they are not the
tokens that the engine gave. So what a prefix cache can find of a turn is the prompt before it.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens


@dataclass(frozen=True, kw_only=True)
class MultiTurnWorkload(Workload):
    """`num_conversations` of `num_turns` turns each, `concurrency` conversations at a time.

    Attributes:
        input_len: tokens of the first prompt.
        turn_len: tokens that each later turn adds to the history.
        output_len: tokens of each reply.
    """

    num_conversations: int
    num_turns: int
    input_len: int
    turn_len: int
    output_len: int

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ("num_conversations", "num_turns", "input_len", "turn_len", "output_len")
        self._check_at_least(1, *names)

    @property
    def max_context(self) -> int:
        return self.input_len + self.output_len + (self.num_turns - 1) * (self.turn_len + self.output_len)

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_conversations} conversations of {self.num_turns} turns, "
            f"{self.input_len} tokens in first, {self.turn_len} more in each, {self.output_len} out"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        draw = Random(f"{self.name}/{round_index}")
        found: list[WorkloadRequest] = []
        for _ in range(self.num_conversations):
            prompt = random_tokens(draw, self.input_len, vocab_size)
            found.append(WorkloadRequest(prompt, self.output_len))
            for _ in range(self.num_turns - 1):
                prompt = prompt + random_tokens(draw, self.output_len + self.turn_len, vocab_size)
                found.append(WorkloadRequest(prompt, self.output_len, after=len(found) - 1))
        return found
