"""What was seen of each request of a run, and the usual figures from it.

Times are in seconds. TPOT = (E2E - TTFT) / (output tokens - 1); requests of one output token have none.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """When a request was sent, when its first and its last token came, from the run's beginning."""

    start: float
    first_token: float
    end: float
    num_prompt_tokens: int
    num_output_tokens: int

    @property
    def ttft(self) -> float:
        return self.first_token - self.start

    @property
    def e2e(self) -> float:
        return self.end - self.start

    @property
    def tpot(self) -> float | None:
        if self.num_output_tokens < 2:
            return None
        return (self.e2e - self.ttft) / (self.num_output_tokens - 1)

    def as_dict(self) -> dict[str, Any]:
        """The fields' names and values."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "RequestTiming":
        """From what a runner reports: the fields' names and values."""
        return RequestTiming(**values)


@dataclass(frozen=True, slots=True)
class Run:
    """One round of a workload: its requests, and the seconds from the first's start to the last's end."""

    requests: tuple[RequestTiming, ...]

    @property
    def seconds(self) -> float:
        return max(r.end for r in self.requests) - min(r.start for r in self.requests)

    @property
    def num_prompt_tokens(self) -> int:
        return sum(r.num_prompt_tokens for r in self.requests)

    @property
    def num_output_tokens(self) -> int:
        return sum(r.num_output_tokens for r in self.requests)

    def figures(self) -> dict[str, float]:
        """The run's figures by name; what the run cannot tell is absent."""
        ttft = float(np.median([r.ttft for r in self.requests]))
        found = {
            "output_tokens_per_second": self.num_output_tokens / self.seconds,
            "total_tokens_per_second": (self.num_prompt_tokens + self.num_output_tokens) / self.seconds,
            "ttft_seconds": ttft,
            "prompt_tokens_per_second": self.requests[0].num_prompt_tokens / ttft,
        }
        tpots = [tpot for r in self.requests if (tpot := r.tpot) is not None]
        if tpots:
            found["tpot_seconds"] = float(np.median(tpots))
            found["decode_tokens_per_second"] = 1 / found["tpot_seconds"]
        return found


def percentiles(values: Iterable[float | None]) -> dict[str, float] | None:
    """p50, p90 and p99 of the values that exist; None if none does."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        f"p{p}": float(value) for p, value in zip(PERCENTILES, np.percentile(known, PERCENTILES), strict=True)
    }


def latencies(requests: Sequence[RequestTiming]) -> dict[str, dict[str, float] | None]:
    """Percentiles over all requests."""
    return {
        "ttft_seconds": percentiles(r.ttft for r in requests),
        "tpot_seconds": percentiles(r.tpot for r in requests),
        "e2e_seconds": percentiles(r.e2e for r in requests),
    }
