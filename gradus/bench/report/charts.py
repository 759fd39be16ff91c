"""Charts that several benches share: ratios with intervals, and shares of requests by latency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gradus.bench.report.plots import (
    BLUE,
    COLOURS,
    GREY,
    INK,
    RED,
    Paint,
    label,
    legend_below,
    number_beside,
    rows_axis,
)
from gradus.bench.report.units import write_number

LINES = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True)
class RatioRow:
    """A ratio, its interval if it has one, and the bound or goal that it is held against."""

    name: str
    median: float
    interval: Sequence[float] | None
    goal: float | None = None


def ratios_chart(rows: Sequence[RatioRow], axis: str, goal_name: str = "goal") -> Paint:
    """A row per ratio: a point with its interval, a bar across for the goal, a line at 1."""

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, row in enumerate(rows):
            low, high = row.interval or (row.median, row.median)
            colour = BLUE if row.median >= 1 else RED
            axes.plot([low, high], [index, index], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot(row.median, index, "o" if row.median >= 1 else "s", color=colour, markersize=6)
            number_beside(axes, f"{write_number(row.median)} ×", max(high, row.median, row.goal or 0), index)
        goals = [(row.goal, index) for index, row in enumerate(rows) if row.goal is not None]
        if goals:
            axes.plot(*zip(*goals, strict=True), "|", color=INK, markersize=15, mew=1.8, label=goal_name)
        axes.axvline(1, color=GREY, linewidth=1)
        rows_axis(axes, [row.name for row in rows])
        ratio_axis(axes, axis)
        legend_below(figure, axes)

    return paint


def ratio_axis(axes: Axes, name: str) -> None:
    """Logarithmic, so that twice and half are equally far from 1; with room for the last number."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.9), max(high, 1.1) * (max(high, 1.1) / min(low, 0.9)) ** 0.14)
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7) if high / low < 12 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(name)


def rows_height(num_rows: int) -> float:
    """Inches of a chart with so many rows."""
    return 1.1 + 0.32 * max(2, num_rows)


def cdf_chart(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Paint:
    """A panel per latency: which share of requests took at most so many milliseconds; a line per series."""

    def paint(figure: Figure) -> None:
        every_axes = np.ravel(figure.subplots(1, len(panels), sharey=True, squeeze=False))
        for axes, (title, series) in zip(every_axes, panels.items(), strict=True):
            for index, (name, seconds) in enumerate(series.items()):
                values = 1000 * np.asarray(seconds)
                style = LINES[index // len(COLOURS) % len(LINES)]
                axes.ecdf(values, color=COLOURS[index % len(COLOURS)], linestyle=style, label=label(name))
            axes.set_xlabel(f"{title}, ms")
            axes.set_xlim(left=0)
            axes.set_ylim(0, 1.03)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        every_axes[0].set_ylabel("share of requests")
        if max(map(len, panels.values())) > 1:
            legend_below(figure, every_axes[0], columns=3)

    return paint
