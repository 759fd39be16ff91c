"""The section of `startup`: from a process's start to its first token, in phases."""

from typing import Any

from matplotlib.figure import Figure

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import (
    COLOURS,
    HATCHES,
    INK,
    draw,
    label,
    legend_below,
    number_beside,
    rows_axis,
)
from gradus.bench.report.sections.common import grid
from gradus.bench.report.units import figure_words, write_number

_STARTS = ("results", "starts")
_SUMS = ("ready_seconds", "first_token_seconds")
_LEAST = 0.01  # of the longest start; shorter phases are not told apart in the plot
_BAR: dict[str, Any] = {"height": 0.6, "edgecolor": "white", "linewidth": 0.5}
_CAPTION = (
    "From the process's start to ready, in the phases that are known (medians); the number and the line are "
    "the time to the first token. A first start packs the weights, the start after it maps what was packed."
)


def startup(document: Document) -> Content:
    """A row per kind of start; what the packed weights gain."""
    starts = document.names(*_STARTS)
    phases = _phases(document, starts)
    return Content(
        tables=[
            *grid(document, "Starts", "start", starts, (*_SUMS, *phases), *_STARTS),
            *_gains(document),
        ],
        plots=[_bars(document, starts, phases)],
    )


def _phases(document: Document, starts: list[str]) -> list[str]:
    names = dict.fromkeys(name for start in starts for name in document.names(*_STARTS, start))
    return [name for name in names if name not in _SUMS]


def _gains(document: Document) -> list[Table]:
    keys = ("results", "cached_over_first")
    rows = [
        [
            text_cell(f"{kind}: {figure_words(figure)}"),
            document.median(*keys, kind, figure),
            document.interval(*keys, kind, figure),
        ]
        for kind in document.names(*keys)
        for figure in document.names(*keys, kind)
    ]
    title = "How many times faster with packed weights in the cache"
    return [Table(title, ("start", "ratio", "95 %"), rows)] if rows else []


def _bars(document: Document, starts: list[str], phases: list[str]) -> Plot:
    def seconds(figure: str) -> list[float]:
        found = [document.find(*_STARTS, start, figure) for start in starts]
        return [max(0.0, summary["median"]) if summary else 0.0 for summary in found]

    ready, first_token = seconds("ready_seconds"), seconds("first_token_seconds")
    stacked = {phase: widths for phase in phases if max(widths := seconds(phase)) >= _LEAST * max(ready)}
    stacked.pop("other_seconds", None)

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        ends = [0.0] * len(starts)
        for (phase, widths), colour, hatch in zip(stacked.items(), COLOURS, HATCHES, strict=False):
            name = label(figure_words(phase))
            axes.barh(range(len(starts)), widths, left=ends, color=colour, hatch=hatch, label=name, **_BAR)
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        rest = [max(0.0, whole - end) for whole, end in zip(ready, ends, strict=True)]
        axes.barh(range(len(starts)), rest, left=ends, color="#D5D5D5", label="not divided, or small", **_BAR)
        for index, first in enumerate(first_token):
            axes.plot([first, first], [index - 0.4, index + 0.4], color=INK, linewidth=2)
            number_beside(axes, f"{write_number(first)} s", first, index)
        rows_axis(axes, starts)
        axes.set_xlabel("seconds from the process's start")
        axes.set_xlim(0, 1.14 * max(first_token))
        legend_below(figure, axes)

    return draw(f"{document.name}-startup", _CAPTION, [document.path], 1.9 + 0.4 * len(starts), paint)
