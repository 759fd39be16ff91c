"""What is asked of a server and how: the workload, the endpoint, what bodies have, what is reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradus.bench.clients.completions import CHAT, COMPLETIONS
from gradus.bench.goodput import Objectives
from gradus.bench.workloads.base import Workload, WorkloadRequest
from gradus.errors import ConfigError

METRICS = {"ttft": "ttft_seconds", "tpot": "tpot_seconds", "itl": "itl_seconds", "e2el": "e2e_seconds"}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How a server is driven.

    Attributes:
        workload: in token ids; says when requests are sent.
        endpoint: path below the URL; `/v1/chat/completions` or another that ends so sends chats.
        sends_text: prompts are sent as text, for servers that take no token ids; chats always are.
        ignore_eos: go on after the end of the sequence, so that every answer has its full length.
        sampling: further fields of every body.
        seed: of the prompts.
        num_warmups: requests that are sent first and left out.
        percentiles: of the latencies, beside mean and median.
        goodput: the objectives that a request must keep to be a good one.
    """

    workload: Workload
    endpoint: str = COMPLETIONS
    sends_text: bool = False
    ignore_eos: bool = True
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0})
    seed: int = 0
    num_warmups: int = 1
    num_runs: int = 5
    percentiles: Sequence[float] = (99.0,)
    goodput: Objectives = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("num_runs", 1), ("num_warmups", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be {least} or more")
        if not all(0 <= share <= 100 for share in self.percentiles):
            raise ConfigError(f"percentiles are {list(self.percentiles)}; each must be from 0 to 100")
        if not self.endpoint.endswith("/completions"):
            raise ConfigError(
                f"endpoint is {self.endpoint!r}; it must be {COMPLETIONS}, {CHAT}, or another that ends so"
            )

    @property
    def sends_token_ids(self) -> bool:
        """Whether the server gets token ids, so that it must count as many."""
        return not (self.sends_text or self.endpoint.endswith("/chat/completions"))

    def requests(self, vocab_size: int, run: int) -> list[WorkloadRequest]:
        """The requests of one run; run 0 is the warm-up's."""
        return self.workload.requests(vocab_size, self.seed + run)

    def as_dict(self) -> dict[str, Any]:
        """For the evidence's parameters."""
        return {
            "workload": self.workload.as_dict(),
            "endpoint": self.endpoint,
            "sends_token_ids": self.sends_token_ids,
            "ignore_eos": self.ignore_eos,
            "sampling": dict(self.sampling),
            "seed": self.seed,
            "num_warmups": self.num_warmups,
            "num_runs": self.num_runs,
            "goodput_seconds": dict(self.goodput) or None,
        }
