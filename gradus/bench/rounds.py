"""Several sides measured in turns, round by round: what else the machine does then meets all of them.

Every other round goes through the sides backwards, so that none always runs after the same other one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gradus.bench.ratios import Ratio, advantage
from gradus.bench.statistics import repeats, spread
from gradus.errors import ConfigError

T = TypeVar("T")

Figures = Mapping[str, float]
"""What one run of one side gave, by name; what was not measured is absent."""

Report = Callable[[str], None]
"""Gets the name of each run that has ended, for a progress bar."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the things compared. `run` gets the round's index; round 0 is the warm-up, which is left out."""

    name: str
    run: Callable[[int], Figures]


@dataclass(slots=True)
class Rounds:
    """The figures of every side and round."""

    figures: dict[str, list[Figures]] = field(default_factory=dict)  # side -> one entry per round

    def values(self, side: str, figure: str) -> list[float]:
        """A figure's value in every round; empty where the side does not have it."""
        return [found[figure] for found in self.figures[side] if figure in found]

    def names(self, side: str) -> list[str]:
        """The figures that a side has, in the order in which they appeared."""
        return list(dict.fromkeys(name for found in self.figures[side] for name in found))

    def summary(self, side: str) -> dict[str, dict[str, float]]:
        """Every figure of a side over its rounds."""
        return {name: spread(self.values(side, name)) for name in self.names(side)}

    def ratio(self, figure: str, side: str, base: str, *, lower_is_better: bool) -> Ratio:
        """How much better `side` is than `base`."""
        return advantage(
            self.values(side, figure), self.values(base, figure), lower_is_better=lower_is_better
        )

    def runs(self) -> list[dict[str, Any]]:
        """For the evidence: every run, by rounds, the sides as they were given."""
        rounds = max(map(len, self.figures.values()), default=0)
        return [
            {"side": side, "round": index + 1, **found[index]}
            for index in range(rounds)
            for side, found in self.figures.items()
            if index < len(found)
        ]

    def repeats(self, *figures: str) -> dict[str, Any]:
        """Whether these figures repeated, on every side, for the evidence's `verification`."""
        return repeats(
            {f"{side}: {name}": self.values(side, name) for side in self.figures for name in figures}
        )


def in_turn(sides: Sequence[T], round_index: int) -> Sequence[T]:
    """The sides in the order of a round: odd rounds as given, even ones backwards."""
    return sides if round_index % 2 else sides[::-1]


def take_turns(
    sides: Sequence[Side],
    num_rounds: int,
    report: Report,
    *,
    warm_up: bool = True,
    alternates: bool = True,
) -> Rounds:
    """Run every side once per round: A B, B A, A B ... Rounds count from 1; round 0 warms up.

    alternates: off: A B, A B ..., for sides that build on those before them.

    Raises:
        ConfigError: num_rounds is below 1.
    """
    if num_rounds < 1:
        raise ConfigError(f"runs is {num_rounds}; it must be 1 or more")
    found = Rounds({side.name: [] for side in sides})
    for index in range(0 if warm_up else 1, num_rounds + 1):
        for side in in_turn(sides, index) if alternates else sides:
            figures = side.run(index)
            if index:
                found.figures[side.name].append(figures)
            report(f"{side.name}, {f'run {index}' if index else 'warm-up'}")
    return found
