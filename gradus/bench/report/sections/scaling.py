"""The section of `scaling`: how speed grows with threads and with workers."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import BLUE, GREY, ORANGE, draw, legend_below
from gradus.bench.report.units import PERCENT, TOKENS_PER_SECOND

_KINDS = {"strong": "strong: the same work", "weak": "weak: n times the work"}
_UNITS = {"threads": (BLUE, "o", "-"), "workers": (ORANGE, "s", "--")}
_CAPTION = (
    "Speed over one thread on one CPU, with 95 % intervals: the same requests on n CPUs (left) and n times "
    "the requests (right); the grey line would be n times as fast."
)


def scaling(document: Document) -> Content:
    """A row per side: speed, speedup and efficiency over one thread."""
    rows = []
    for side in document.names("results"):
        place = ("results", side)
        rows.append(
            [
                text_cell(side),
                document.text(*place, "kind"),
                document.median(*place, "output_tokens_per_second", unit=TOKENS_PER_SECOND),
                document.extent(*place, "output_tokens_per_second"),
                document.median(*place, "speedup"),
                document.interval(*place, "speedup"),
                document.median(*place, "efficiency", unit=PERCENT),
            ]
        )
    header = ("side", "scaling", "output tok/s", "from – to", "speedup", "95 %", "efficiency")
    return Content(tables=[Table("Against one thread on one CPU", header, rows)], plots=[_lines(document)])


def _lines(document: Document) -> Plot:
    sides = [
        side for name in document.names("results") if "speedup" in (side := document.find("results", name))
    ]

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (kind, title) in zip(panels, _KINDS.items(), strict=True):
            for unit in _UNITS:
                _line(axes, unit, {_count(side): side for side in sides if _is(side, kind, unit)})
            most = max(map(_count, sides), default=1)
            axes.plot([1, most], [1, most], color=GREY, linewidth=1, label="n times")
            axes.set_title(title, loc="left")
            axes.set_xlabel("CPUs")
            axes.set_ylim(bottom=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panels[0].yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g} ×"))
        panels[0].set_ylabel("speedup")
        legend_below(figure, panels[0])

    return draw(f"{document.name}-scaling", _CAPTION, [document.path], 3.4, paint)


def _line(axes: Axes, unit: str, sides: Mapping[int, Mapping[str, Any]]) -> None:
    colour, marker, style = _UNITS[unit]
    axes.plot(
        [1, *sides], [1.0, *(side["speedup"]["median"] for side in sides.values())],
        marker=marker, linestyle=style, color=colour, label=unit,
    )  # fmt: skip
    for count, side in sides.items():
        if interval := side["speedup"].get("interval_95"):
            axes.plot([count, count], interval, color=colour, linewidth=1.5)


def _count(side: Mapping[str, Any]) -> int:
    return int(side["num_workers"] * side["threads_per_worker"])


def _is(side: Mapping[str, Any], kind: str, unit: str) -> bool:
    return side["kind"] == kind and (side["num_workers"] > 1) == (unit == "workers")
