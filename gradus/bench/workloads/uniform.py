"""Requests whose lengths are drawn evenly from a range, as nano-vllm's published benchmark does.

Lengths are the same in every round, so that rounds can be compared; tokens are others, so that no prefix is
shared. With 256 requests of 100 to 1,024 tokens and seed 0 the lengths are those of the published benchmark.
Source: `bench.py` of github.com/GeeeekExplorer/nano-vllm and its README, which counts 133,966 output tokens.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens
from gradus.errors import ConfigError

LAST_TOKEN_OF_SOURCE = 10_000  # its prompts' tokens are drawn between their lengths, from 0 up to this one


@dataclass(frozen=True, kw_only=True)
class UniformWorkload(Workload):
    """`num_requests` requests; lengths are drawn from the ranges, whose ends belong to them."""

    num_requests: int
    min_input_len: int
    max_input_len: int
    min_output_len: int
    max_output_len: int
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_requests", "min_input_len", "min_output_len")
        for kind in ("input", "output"):
            least, most = getattr(self, f"min_{kind}_len"), getattr(self, f"max_{kind}_len")
            if most < least:
                raise ConfigError(f"max_{kind}_len is {most}; it must be min_{kind}_len, {least}, or more")

    @property
    def max_context(self) -> int:
        return self.max_input_len + self.max_output_len

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_requests} requests of {self.min_input_len} to {self.max_input_len} tokens in, "
            f"{self.min_output_len} to {self.max_output_len} out"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        draw = Random(f"{self.name}/{round_index}")
        return [
            WorkloadRequest(random_tokens(draw, input_len, vocab_size), output_len)
            for input_len, output_len in self._drawn_lengths()
        ]

    def _drawn_lengths(self) -> list[tuple[int, int]]:
        """Tokens in and out of each request, by the same draws as the source's."""
        draw = Random(self.seed)
        input_lens = []
        for _ in range(self.num_requests):
            input_lens.append(draw.randint(self.min_input_len, self.max_input_len))
            random_tokens(draw, input_lens[-1], LAST_TOKEN_OF_SOURCE + 1)
        return [
            (input_len, draw.randint(self.min_output_len, self.max_output_len)) for input_len in input_lens
        ]
