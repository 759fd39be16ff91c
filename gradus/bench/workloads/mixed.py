"""Requests of all kinds at once: of mixed lengths, many of which begin alike, with a long prompt among them.

Lengths are the same in every round, so that rounds can be compared; tokens are others.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens


@dataclass(frozen=True, kw_only=True)
class MixedWorkload(Workload):
    """`num_requests` requests, the middle one of which has a long prompt.

    Attributes:
        prefix_len: tokens that three of four prompts begin with, the long one aside.
        min_input_len, max_input_len: of what is a prompt's own.
    """

    num_requests: int
    prefix_len: int
    min_input_len: int
    max_input_len: int
    min_output_len: int
    max_output_len: int
    long_input_len: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_requests", "prefix_len", "min_input_len", "min_output_len")
        self._check_at_least(self.min_input_len, "max_input_len")
        self._check_at_least(self.min_output_len, "max_output_len")
        self._check_at_least(1, "long_input_len")

    @property
    def max_context(self) -> int:
        return max(self.prefix_len + self.max_input_len, self.long_input_len) + self.max_output_len

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_requests} requests of {self.min_input_len} to {self.max_input_len} tokens in, three "
            f"of four after the same {self.prefix_len}, one of {self.long_input_len}; "
            f"{self.min_output_len} to {self.max_output_len} out"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        lengths, draw = Random(self.name), Random(f"{self.name}/{round_index}")
        prefix = random_tokens(draw, self.prefix_len, vocab_size)
        found = []
        for index in range(self.num_requests):
            input_len = lengths.randint(self.min_input_len, self.max_input_len)
            output_len = lengths.randint(self.min_output_len, self.max_output_len)
            if index == self.num_requests // 2:
                prompt = random_tokens(draw, self.long_input_len, vocab_size)
            else:
                beginning = prefix if index % 4 else []
                prompt = beginning + random_tokens(draw, input_len, vocab_size)
            found.append(WorkloadRequest(prompt, output_len))
        return found
