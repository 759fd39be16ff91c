"""Requests of one length, so many at a time: the workload of comparisons.

Prompts are random token ids, other ones in every request and every round, so no prefix is ever shared.
"""

import random
from dataclasses import dataclass, replace

from gradus.bench.workloads.base import Workload, WorkloadRequest
from gradus.errors import ConfigError


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
        for field in ("num_requests", "concurrency", "input_len", "output_len"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} is {getattr(self, field)}; it must be 1 or more")

    @property
    def context(self) -> int:
        """Tokens of one request when it ends."""
        return self.input_len + self.output_len

    @property
    def max_context(self) -> int:
        return self.context

    @property
    def summary(self) -> str:
        return (
            f"{self.num_requests} requests, {self.concurrency} at a time, {self.input_len} tokens in, "
            f"{self.output_len} out"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        return [WorkloadRequest(prompt, self.output_len) for prompt in self.prompts(vocab_size, round_index)]

    def prompts(self, vocab_size: int, round_index: int) -> list[list[int]]:
        """The prompts of one round; the same ones whenever it is asked for that round."""
        draw = random.Random(f"{self.name}/{round_index}")
        return [[draw.randrange(vocab_size) for _ in range(self.input_len)] for _ in range(self.num_requests)]

    def changed(
        self,
        *,
        input_len: int | None = None,
        output_len: int | None = None,
        num_requests: int | None = None,
        concurrency: int | None = None,
    ) -> "FixedWorkload":
        """With other numbers, and then another name.

        Raises:
            ConfigError: a number below 1.
        """
        numbers = {
            "input_len": input_len,
            "output_len": output_len,
            "num_requests": num_requests,
            "concurrency": concurrency,
        }
        given = {name: value for name, value in numbers.items() if value is not None}
        return replace(self, name="fixed", **given) if given else self
