"""Requests of one length, so many at a time: the workload of comparisons.

Prompts are random token ids, other ones in every request and every round, so no prefix is ever shared.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens


@dataclass(frozen=True, kw_only=True)
class FixedWorkload(Workload):
    """`num_requests` requests of `input_len` tokens in and `output_len` out, `concurrency` at a time.

    A closed loop: as soon as one ends, the next begins.
    """

    concurrency: int
    num_requests: int
    input_len: int
    output_len: int

    def __post_init__(self) -> None:
        self._check_at_least(1, "num_requests", "concurrency", "input_len", "output_len")

    @property
    def context(self) -> int:
        """Tokens of one request when it ends."""
        return self.input_len + self.output_len

    @property
    def max_context(self) -> int:
        return self.context

    @property
    def lengths(self) -> str:
        return f"{self.num_requests} requests of {self.input_len} tokens in, {self.output_len} out"

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        return [WorkloadRequest(prompt, self.output_len) for prompt in self.prompts(vocab_size, round_index)]

    def prompts(self, vocab_size: int, round_index: int) -> list[list[int]]:
        """The prompts of one round; the same ones whenever it is asked for that round."""
        draw = Random(f"{self.name}/{round_index}")
        return [random_tokens(draw, self.input_len, vocab_size) for _ in range(self.num_requests)]

    @property
    def _changed_name(self) -> str:
        return "fixed"
