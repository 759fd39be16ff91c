"""What was seen of each request of a run, and the usual figures from it.

Times are in seconds. Every figure's formula is in `docs/metrics.md`. Knows nothing of who ran the requests.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

import numpy as np

PERCENTILES = (50, 90, 99)

PROMPT_CLASSES = {  # by tokens: from the first number to below the second
    "under_100": (0, 100),
    "100_to_500": (100, 500),
    "500_to_2000": (500, 2000),
    "2000_and_more": (2000, None),
}


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """When a request was sent, when its first and its last token came, from the run's beginning.

    Attributes:
        token_times: when each output token came, or each piece of text where a client cannot tell tokens
            apart; empty where it was not recorded.
    """

    start: float
    first_token: float
    end: float
    num_prompt_tokens: int
    num_output_tokens: int
    token_times: Sequence[float] = ()

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

    @property
    def itls(self) -> list[float]:
        """The gaps between successive tokens; empty where their times were not recorded."""
        return [later - earlier for earlier, later in pairwise(self.token_times)]

    def as_dict(self) -> dict[str, float]:
        """What `from_dict` reads: the fields' names and values, without the tokens' times."""
        return {
            "start": self.start,
            "first_token": self.first_token,
            "end": self.end,
            "num_prompt_tokens": self.num_prompt_tokens,
            "num_output_tokens": self.num_output_tokens,
        }

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
        found = {
            "requests_per_second": len(self.requests) / self.seconds,
            "input_tokens_per_second": self.num_prompt_tokens / self.seconds,
            "output_tokens_per_second": self.num_output_tokens / self.seconds,
            "total_tokens_per_second": (self.num_prompt_tokens + self.num_output_tokens) / self.seconds,
            "ttft_seconds": float(np.median([r.ttft for r in self.requests])),
            "prompt_tokens_per_second": float(
                np.median([r.num_prompt_tokens / r.ttft for r in self.requests])
            ),
            "e2e_seconds": float(np.median([r.e2e for r in self.requests])),
        }
        tpots = [tpot for r in self.requests if (tpot := r.tpot) is not None]
        if tpots:
            found["tpot_seconds"] = float(np.median(tpots))
            found["decode_tokens_per_second"] = 1 / found["tpot_seconds"]
        return found


def percentiles(
    values: Iterable[float | None], shares: Sequence[float] = PERCENTILES
) -> dict[str, float] | None:
    """The percentiles of the values that exist, interpolated linearly; None if none does."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    cuts = np.percentile(known, shares)
    return {f"p{share:g}": float(cut) for share, cut in zip(shares, cuts, strict=True)}


def latencies(requests: Sequence[RequestTiming]) -> dict[str, dict[str, float] | None]:
    """Percentiles over all requests, and for ITL over all gaps."""
    return {
        "ttft_seconds": percentiles(r.ttft for r in requests),
        "tpot_seconds": percentiles(r.tpot for r in requests),
        "itl_seconds": percentiles(itl for r in requests for itl in r.itls),
        "e2e_seconds": percentiles(r.e2e for r in requests),
    }


def ttft_by_prompt(requests: Sequence[RequestTiming]) -> dict[str, dict[str, float]]:
    """TTFT's percentiles and number of requests by class of prompt length; without the classes of none."""
    found = {}
    for name, (least, limit) in PROMPT_CLASSES.items():
        values = [r.ttft for r in requests if least <= r.num_prompt_tokens < (limit or inf)]
        if (shares := percentiles(values)) is not None:
            found[name] = {"num_requests": len(values), **shares}
    return found
