"""What a workload is: requests with prompts of token ids, and what decides when each is sent."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """One request.

    Attributes:
        prompt: token ids.
        output_len: tokens to generate, past the end of the sequence if it comes earlier.
        arrival: seconds from the run's beginning before which it is not sent; 0 in a closed loop.
        after: the index of a request that must have ended before this one is sent, as a conversation's turn.
    """

    prompt: Sequence[int]
    output_len: int
    arrival: float = 0.0
    after: int | None = None

    @property
    def context(self) -> int:
        """Its tokens when it ends."""
        return len(self.prompt) + self.output_len


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Requests of a kind.

    Attributes:
        concurrency: how many are in flight at a time at most; None: as many as have arrived (an open loop).
    """

    name: str
    concurrency: int | None

    @abstractmethod
    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        """The requests of one round, in the order of sending; the same ones whenever it is asked for."""

    @property
    @abstractmethod
    def max_context(self) -> int:
        """Tokens of the longest request that a round may hold."""

    @property
    @abstractmethod
    def summary(self) -> str:
        """For people: how many requests of which lengths."""

    def as_dict(self) -> dict[str, Any]:
        """For the evidence's parameters."""
        return asdict(self)
