"""An open loop: another workload's requests, sent when they arrive and not when earlier ones end."""

from dataclasses import dataclass, fields, replace
from itertools import accumulate
from math import inf
from random import Random
from typing import Self

from gradus.bench.workloads.base import Encode, Workload, WorkloadRequest
from gradus.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OpenLoop(Workload):
    """The requests of `source`, the first at once, the others after drawn gaps, the same in every round.

    A conversation arrives as a whole: its later turns follow its first.

    Attributes:
        concurrency: how many are in flight at a time at most; None: as many as have arrived.
        request_rate: requests that arrive per second on average.
        burstiness: shape of the gaps' gamma distribution: 1 is a Poisson process, less is more bursty, more
            is more even. The parameter is that of `vllm bench serve --burstiness`.
    """

    source: Workload
    request_rate: float
    burstiness: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("request_rate", "burstiness"):
            if not 0 < getattr(self, name) < inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0 and finite")

    @property
    def max_context(self) -> int:
        return self.source.max_context

    @property
    def lengths(self) -> str:
        return self.source.lengths

    @property
    def summary(self) -> str:
        shape = "" if self.burstiness == 1 else f" with burstiness {self.burstiness:g}"
        limit = "" if self.concurrency is None else f", at most {self.concurrency} at a time"
        return f"{self.lengths}, {self.request_rate:g} arriving per second{shape}{limit}"

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        requests = self.source.requests(vocab_size, round_index)
        arrivals = iter(self.arrivals(sum(request.after is None for request in requests)))
        return [
            replace(request, arrival=next(arrivals)) if request.after is None else request
            for request in requests
        ]

    def arrivals(self, count: int) -> list[float]:
        """So many arrivals in seconds, the first at 0."""
        draw = Random(f"arrivals/{self.seed}")
        scale = 1 / (self.request_rate * self.burstiness)  # the mean gap is shape times scale
        gaps = (draw.gammavariate(self.burstiness, scale) for _ in range(count - 1))
        return list(accumulate(gaps, initial=0.0))

    def with_tokenizer(self, encode: Encode) -> Workload:
        return replace(self, source=self.source.with_tokenizer(encode))

    def changed(self, **values: float | None) -> Self:
        own = {field.name for field in fields(self)} - {"source"}
        mine = super().changed(**{name: value for name, value in values.items() if name in own})
        theirs = {name: value for name, value in values.items() if name not in own}
        source = self.source.changed(**theirs)
        return mine if source is self.source else replace(mine, name=self._changed_name, source=source)
