"""`gradus bench compare`: two documents of one bench, before and after, figure by figure.

A figure is a number that every run of a side has. The runs were not taken in turns, so what else the machine
did is in the ratio; its interval only says how much the runs of each document differ among themselves.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradus.bench.evidence import evidence
from gradus.bench.ratios import Ratio, unpaired_advantage
from gradus.errors import ConfigError

METHOD = (
    "Figures are the numbers in the runs of both documents, per side. A ratio is that of the medians, above "
    "1 where the second document is better; its interval is a bootstrap over each document's own runs. "
    "A figure got worse if its ratio is below 1 - threshold and its interval, if there is one, below 1."
)
HIGHER_IS_BETTER = ("per_second", "speedup", "efficiency", "accuracy", "hit_rate", "goodput")
LOWER_IS_BETTER = ("seconds", "bytes", "perplexity", "failures")

Samples = dict[tuple[str, str], list[float]]
"""(side, figure) -> its value in every run."""


@dataclass(frozen=True, slots=True)
class Change:
    """One figure before and after."""

    side: str
    figure: str
    before: list[float]
    after: list[float]
    ratio: Ratio  # above 1: better

    def is_worse(self, threshold: float) -> bool:
        """Whether it got worse by more than `threshold`, a share, and not by chance."""
        interval = self.ratio.interval
        return self.ratio.median < 1 - threshold and (interval is None or interval[1] < 1)


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The figures that both documents have and of which it is known which direction is better.

    Raises:
        ConfigError: the documents are of different benches, or have no such figure in common.
    """
    if before["test_name"] != after["test_name"]:
        raise ConfigError(
            f"the first document is of bench {before['test_name']}, the second of {after['test_name']}; "
            "both must be of one bench"
        )
    earlier, later = samples(before["runs"]), samples(after["runs"])
    changes = [
        Change(side, figure, values, later[side, figure], _ratio(figure, values, later[side, figure]))
        for (side, figure), values in earlier.items()
        if (side, figure) in later and lower_is_better(figure) is not None
    ]
    if not changes:
        raise ConfigError("the two documents have no figure in common")
    return changes


def samples(runs: Sequence[Mapping[str, Any]]) -> Samples:
    """The numbers of the runs; what a run calls itself in words tells its side."""
    found: Samples = defaultdict(list)
    for run in runs:
        side = ", ".join(value for value in run.values() if isinstance(value, str))
        for figure, value in run.items():
            numbers = value if isinstance(value, list) else [value]
            if figure != "round" and all(_is_number(number) for number in numbers):
                found[side, figure].extend(float(number) for number in numbers)
    return found


def lower_is_better(figure: str) -> bool | None:
    """By the figure's name, which ends with its unit; None where the name does not tell."""
    if figure.endswith(HIGHER_IS_BETTER):
        return False
    return True if figure.endswith(LOWER_IS_BETTER) else None


def comparison_evidence(
    paths: Sequence[Path], documents: Sequence[Mapping[str, Any]], changes: Sequence[Change], threshold: float
) -> dict[str, Any]:
    """What was compared and found."""
    return evidence(
        "compare",
        model=documents[1]["model"],
        parameters={
            "before": {"file": str(paths[0]), "commit": documents[0].get("commit")},
            "after": {"file": str(paths[1]), "commit": documents[1].get("commit")},
            "bench": documents[0]["test_name"],
            "threshold": threshold,
        },
        method=METHOD,
        results={
            "changes": [
                {"side": change.side, "figure": change.figure, "ratio": change.ratio.as_dict()}
                for change in changes
            ]
        },
        runs=[
            {"side": change.side, "figure": change.figure, "before": change.before, "after": change.after}
            for change in changes
        ],
        verification={
            "nothing_got_worse": not any(change.is_worse(threshold) for change in changes),
            "on_the_same_hardware": documents[0]["hardware"] == documents[1]["hardware"],
            "of_the_same_parameters": documents[0]["parameters"] == documents[1]["parameters"],
        },
    )


def _ratio(figure: str, before: Sequence[float], after: Sequence[float]) -> Ratio:
    return unpaired_advantage(after, before, lower_is_better=bool(lower_is_better(figure)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
