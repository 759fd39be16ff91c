"""Requests many of which begin alike, as behind one system prompt.

The common beginning and all the rest are random token ids, other ones in every round.
"""

from dataclasses import dataclass
from random import Random

from gradus.bench.workloads.base import Workload, WorkloadRequest, random_tokens


@dataclass(frozen=True, kw_only=True)
class SharedPrefixWorkload(Workload):
    """`num_requests` requests of one length, in a random order.

    Attributes:
        share_of_requests: how many of them, rounded, begin with the common tokens.
        share_of_prompt: how much of `input_len`, rounded, the common tokens are.
    """

    num_requests: int
    input_len: int
    output_len: int
    share_of_requests: float = 0.7
    share_of_prompt: float = 0.8

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_requests", "input_len", "output_len")
        self._check_share("share_of_requests", "share_of_prompt")

    @property
    def num_sharing(self) -> int:
        """Requests that begin alike."""
        return round(self.share_of_requests * self.num_requests)

    @property
    def prefix_len(self) -> int:
        """Tokens that they begin with."""
        return round(self.share_of_prompt * self.input_len)

    @property
    def max_context(self) -> int:
        return self.input_len + self.output_len

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_requests} requests of {self.input_len} tokens in, {self.output_len} out, "
            f"{self.num_sharing} of which share their first {self.prefix_len} tokens"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        draw = Random(f"{self.name}/{round_index}")
        prefix = random_tokens(draw, self.prefix_len, vocab_size)
        beginnings = [prefix] * self.num_sharing + [[]] * (self.num_requests - self.num_sharing)
        draw.shuffle(beginnings)
        return [
            WorkloadRequest(
                beginning + random_tokens(draw, self.input_len - len(beginning), vocab_size), self.output_len
            )
            for beginning in beginnings
        ]
