"""Workloads as data: how many requests, how many at a time, how long. Knows nothing of who runs them.

Prompts are random token ids, other ones in every request and every round, so no prefix is ever shared.
"""

import random
from dataclasses import dataclass, replace

from gradus.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`num_requests` requests of `input_len` tokens in and `output_len` out, `concurrency` at a time.

    A closed loop: as soon as one ends, the next begins.
    """

    name: str
    num_requests: int
    concurrency: int
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
    def num_live_tokens(self) -> int:
        """Tokens whose keys and values exist at a time at most."""
        return min(self.concurrency, self.num_requests) * self.context

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
    ) -> "Workload":
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


def _workload(name: str, num_requests: int, concurrency: int, input_len: int, output_len: int) -> Workload:
    return Workload(
        name=name,
        num_requests=num_requests,
        concurrency=concurrency,
        input_len=input_len,
        output_len=output_len,
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        _workload("reference", 40, 8, 32, 50),
        _workload("wide", 16, 16, 128, 128),
        _workload("decode", 1, 1, 32, 128),
        _workload("ttft", 3, 1, 32, 1),
        _workload("prefill-512", 1, 1, 512, 1),
        _workload("prefill-2048", 1, 1, 2048, 1),
        _workload("long-context", 1, 1, 4096, 64),
        _workload("streams-1024", 8, 8, 960, 64),
    )
}


def find_workload(name: str) -> Workload:
    """Raises:
    ConfigError: names those that exist.
    """
    if name not in WORKLOADS:
        raise ConfigError(f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}")
    return WORKLOADS[name]
