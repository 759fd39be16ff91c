"""The rungs from the bottom to the top. Adding one: its class, and a line here."""

from dataclasses import dataclass
from importlib import import_module

from gradus.bench.ladder.base import Ground, Rung
from gradus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RungEntry:
    """A rung before it is made.

    Attributes:
        adds: what it has that the one below lacks.
        is_replay: it repeats recorded steps; all others generate tokens of their own.
    """

    number: int
    name: str
    adds: str
    home: str
    is_replay: bool = False

    @property
    def label(self) -> str:
        return f"{self.number} {self.name}"

    def make(self, ground: Ground) -> Rung:
        module, _, name = self.home.partition(":")
        kind: type[Rung] = getattr(import_module(f"gradus.bench.ladder.{module}"), name)
        return kind(ground)


RUNGS = tuple(
    RungEntry(number, *rung)
    for number, rung in enumerate(
        (
            ("kernels", "recorded steps, replayed in C++", "replay:KernelsRung", True),
            ("backend", "Backend.execute: checks, arrays in and out", "replay:BackendRung", True),
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
        first, _, last = part.strip().partition("-")
        if (
            not first.isdecimal()
            or not (last or first).isdecimal()
            or not int(first) <= int(last or first) < len(RUNGS)
        ):
            raise ConfigError(
                f"rungs has {part!r}; it must be a list such as 0,4-8 of numbers from 0 to {len(RUNGS) - 1}"
            )
        wanted |= set(range(int(first), int(last or first) + 1))
    return tuple(rung for rung in RUNGS if rung.number in wanted)
