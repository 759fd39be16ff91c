"""Streams that are being written when a long prompt comes: what chunked prefill is for.

The long prompt is sent when a short request has ended, so it meets running streams however fast they are.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens

NUM_TOKENS_BEFORE = 4  # that the streams write before the long prompt is sent


@dataclass(frozen=True, kw_only=True)
class LongPromptWorkload(Workload):
    """A short request, `num_streams` streams, and a request of `long_input_len` tokens in and one out."""

    num_streams: int
    input_len: int
    output_len: int
    long_input_len: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_streams", "input_len", "long_input_len")
        self._check_at_least(NUM_TOKENS_BEFORE + 1, "output_len")

    @property
    def max_context(self) -> int:
        return max(self.input_len + self.output_len, self.long_input_len + 1)

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_streams} streams of {self.input_len} tokens in, {self.output_len} out, and among "
            f"them a prompt of {self.long_input_len}"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        draw = Random(f"{self.name}/{round_index}")
        output_lens = [NUM_TOKENS_BEFORE, *[self.output_len] * self.num_streams]
        short = [WorkloadRequest(random_tokens(draw, self.input_len, vocab_size), n) for n in output_lens]
        return [*short, WorkloadRequest(random_tokens(draw, self.long_input_len, vocab_size), 1, after=0)]
