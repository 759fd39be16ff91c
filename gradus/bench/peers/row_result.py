"""What was found of one row of the comparison: figures, how each side was run, and what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gradus.bench.peers.candidates import Options
from gradus.bench.peers.endpoint import Endpoint
from gradus.bench.peers.rows import Row, Side
from gradus.bench.ratios import advantage
from gradus.bench.statistics import spread


@dataclass(slots=True)
class RowResult:
    """A row's figures per side and round, the options of each side, and why sides are missing.

    Attributes:
        untried: changes of a side's options that no time was left for.
    """

    row: Row
    figures: dict[Side, list[float]] = field(default_factory=dict)
    options: dict[Side, Options] = field(default_factory=dict)
    untried: dict[Side, Sequence[Options]] = field(default_factory=dict)
    software: dict[str, dict[str, Any]] = field(default_factory=dict)  # by engine
    absent: dict[Side, str] = field(default_factory=dict)

    @property
    def present(self) -> list[Side]:
        return [side for side in self.row.sides if side not in self.absent]

    @property
    def num_rounds(self) -> int:
        """That were measured, on every side."""
        return max(map(len, self.figures.values()), default=0)

    @property
    def last_round(self) -> str:
        """Its figures, for people."""
        figures = (f"{side.label} {values[-1]:,.4g}" for side, values in self.figures.items())
        return f"{self.row.name}: {', '.join(figures)}"

    def note(self, side: Side, endpoint: Endpoint, options: Options, untried: Sequence[Options] = ()) -> None:
        """How a side was measured."""
        self.options[side], self.untried[side] = options, untried
        self.software.setdefault(side.engine, {}).update(endpoint.software)

    def as_dict(self) -> dict[str, Any]:
        """Results; a side that was not measured is absent."""
        row, ours = self.row, self.figures.get(self.row.ours)
        found: dict[str, Any] = {
            "figure": row.figure,
            "goal": row.goal,
            "sides": {side.label: spread(values) for side, values in self.figures.items()},
        }
        if ours:
            found["ratios"] = {
                side.label: advantage(ours, values, lower_is_better=row.lower_is_better).as_dict()
                for side, values in self.figures.items()
                if side != row.ours
            }
        return found
