"""One run of requests against a server, and what follows from it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gradus.bench.clients.answered import Answered
from gradus.bench.clients.server_counters import ServerCounters
from gradus.bench.goodput import Objectives, is_good
from gradus.bench.timings import RequestTiming, percentiles
from gradus.bench.workloads.base import WorkloadRequest

SHOWN_FAILURES = 10


@dataclass(frozen=True)
class ServedRun:
    """What was asked, what came back, and what the server counted meanwhile.

    Attributes:
        client_cpu_seconds: what the client itself took; it may share the server's processors.
        before, after: the server's own counters, where it has them.
    """

    requests: Sequence[WorkloadRequest]
    answers: Sequence[Answered]
    client_cpu_seconds: float
    before: ServerCounters | None
    after: ServerCounters | None

    @cached_property
    def timings(self) -> list[RequestTiming]:
        """Of the requests that were answered."""
        return [timing for answer in self.answers if (timing := answer.timing) is not None]

    @property
    def failures(self) -> list[str]:
        return [answer.error for answer in self.answers if answer.error is not None]

    @property
    def seconds(self) -> float:
        """From the first request's start to the last's end, failed ones included."""
        return max(answer.end for answer in self.answers) - min(answer.start for answer in self.answers)

    def figures(self, goodput: Objectives) -> dict[str, float]:
        """By name; empty where nothing was answered."""
        if not self.timings:
            return {}
        num_input = sum(timing.num_prompt_tokens for timing in self.timings)
        num_output = sum(timing.num_output_tokens for timing in self.timings)
        found = {
            "num_successful_requests": len(self.timings),
            "num_failed_requests": len(self.failures),
            "duration_seconds": self.seconds,
            "num_input_tokens": num_input,
            "num_output_tokens": num_output,
            "requests_per_second": len(self.timings) / self.seconds,
            "output_tokens_per_second": num_output / self.seconds,
            "total_tokens_per_second": (num_input + num_output) / self.seconds,
            "client_cpu_share": self.client_cpu_seconds / self.seconds,
        }
        late = [a.start - r.arrival for r, a in zip(self.requests, self.answers, strict=True) if r.arrival]
        if late:
            found["largest_send_delay_seconds"] = max(late)
        if goodput:
            good = sum(is_good(timing, goodput) for timing in self.timings)
            found["good_requests_per_second"] = good / self.seconds
        return found | {
            name: float(np.median(values))
            for name, values in samples([self]).items()
            if name != "itl_seconds"
        }

    def agrees_with_the_server(self) -> bool | None:
        """Whether its counters grew by the tokens of the answers; None where that cannot be known."""
        if self.before is None or self.after is None or self.failures:
            return None
        return (
            self.after.prompt_tokens_total - self.before.prompt_tokens_total
            == sum(timing.num_prompt_tokens for timing in self.timings)
        ) and (
            self.after.generation_tokens_total - self.before.generation_tokens_total
            == sum(timing.num_output_tokens for timing in self.timings)
        )

    def as_dict(self, goodput: Objectives) -> dict[str, Any]:
        """For the evidence."""
        counters = {
            name: counted
            for name, counted in (("before", self.before), ("after", self.after))
            if counted is not None
        }
        return {
            **self.figures(goodput),
            "failures": self.failures[:SHOWN_FAILURES] or None,
            "server_counters": {name: asdict(counted) for name, counted in counters.items()} or None,
            "requests": [timing.as_dict() for timing in self.timings],
        }


def samples(runs: Sequence[ServedRun]) -> dict[str, list[float]]:
    """All values of every latency; what no request has is absent."""
    timings = [timing for run in runs for timing in run.timings]
    found = {
        "ttft_seconds": [timing.ttft for timing in timings],
        "tpot_seconds": [tpot for timing in timings if (tpot := timing.tpot) is not None],
        "itl_seconds": [itl for timing in timings for itl in timing.itls],
        "e2e_seconds": [timing.e2e for timing in timings],
    }
    return {name: values for name, values in found.items() if values}


def distribution(values: Sequence[float], shares: Sequence[float]) -> dict[str, float]:
    """Mean, median, standard deviation and the percentiles asked for."""
    array = np.asarray(values)
    found = {"mean": float(array.mean()), "median": float(np.median(array)), "stdev": float(array.std())}
    return found | (percentiles(values, shares) or {})
