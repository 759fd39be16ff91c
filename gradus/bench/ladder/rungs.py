"""The rungs from the bottom to the top. Adding one: its class, and a line here."""

import re
from dataclasses import dataclass
from importlib import import_module

from gradus.bench.ladder.base import Ground, Rung
from gradus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RungEntry:
    """A rung before it is made.

    Attributes:
        adds: what it has that the one below lacks.
    """

    number: int
    name: str
    adds: str
    home: str

    @property
    def label(self) -> str:
        return f"{self.number} {self.name}"

    @property
    def is_replay(self) -> bool:
        """Whether it repeats recorded steps; all others generate tokens of their own."""
        return self.home.startswith("replay:")

    def make(self, ground: Ground) -> Rung:
        module, _, name = self.home.partition(":")
        kind: type[Rung] = getattr(import_module(f"gradus.bench.ladder.{module}"), name)
        return kind(ground)


RUNGS = tuple(
    RungEntry(number, *rung)
    for number, rung in enumerate(
        (
            ("kernels", "recorded steps, replayed in C++", "replay:KernelsRung"),
            ("backend", "Backend.execute: checks, arrays in and out", "replay:BackendRung"),
            ("runner", "building batches, sampling, a loop", "runner:RunnerRung"),
            ("block pool", "blocks when they are needed", "runner:PoolRung"),
            ("scheduler", "EngineCore: continuous batching", "core:CoreRung"),
            ("engine thread", "AsyncEngine: a thread, streams of updates", "async_rungs:StreamsRung"),
            ("text", "detokenizer, stop strings", "async_rungs:TextRung"),
            ("HTTP", "the server, answers in one piece", "server:HttpRung"),
            ("HTTP SSE", "an event per token", "server:SseRung"),
            ("gRPC", "in place of HTTP: StreamPredict", "server:GrpcRung"),
        )
    )
)


def find_rungs(numbers: str | None) -> tuple[RungEntry, ...]:
    """Rungs by a list such as "0,4-8"; all without one. Rung 0 is always among them.

    Raises:
        ConfigError: a part is no number or range of rungs.
    """
    if numbers is None:
        return RUNGS
    wanted = {0}
    for part in numbers.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if not first <= last < len(RUNGS):
            raise ConfigError(
                f"rungs has {part!r}; it must be a list such as 0,4-8 of numbers from 0 to {len(RUNGS) - 1}"
            )
        wanted |= set(range(first, last + 1))
    return tuple(rung for rung in RUNGS if rung.number in wanted)
