"""The section of `roofline`: where a step's time goes, and how close operations are to the ceilings."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import COLOURS, GREY, MARKERS, draw, label, legend_below, small_text
from gradus.bench.report.units import MILLISECONDS, PERCENT, unit_of, words

_STEPS, _CEILINGS = ("results", "steps"), ("results", "ceilings")
_LEAST_SHARE = 0.01  # of a step; operations below it are left out of the plot
_CAPTION = (
    "Each point is an operation of a step: its multiply-adds per second over the multiply-adds that it does "
    "per byte it reads. Lines are this machine's measured ceilings: memory (rising) and arithmetic of each "
    "kind (level). A point above the memory line read from the processor's caches. Operations that take less "
    "than a hundredth of their step are left out."
)


def roofline(document: Document) -> Content:
    """The ceilings, and a table of operations per step."""
    steps = [_step(document, index) for index in document.indices(*_STEPS)]
    return Content(tables=[_ceilings(document), *steps], plots=_plot(document))


def _ceilings(document: Document) -> Table:
    rows = []
    for kind, figure in (("multiply_adds_per_second", "macs_per_second"), ("read_bytes_per_second",) * 2):
        unit = unit_of(figure)
        for index in document.indices(*_CEILINGS, kind):
            place = (*_CEILINGS, kind, index)
            name = document.find(*place, "kind") or "memory read"
            threads = document.number(*place, "num_threads")
            values = document.median(*place, unit=unit), document.number(*place, "max", unit=unit)
            rows.append([text_cell(unit.heading(name)), threads, *values])
    return Table("This machine's ceilings", ("what", "threads", "median", "best"), rows)


def _step(document: Document, index: int) -> Table:
    step = document.find(*_STEPS, index)
    rows = []
    for number in document.indices(*_STEPS, index, "operations"):
        place = (*_STEPS, index, "operations", number)
        rows.append(
            [
                document.text(*place, "name"),
                document.number(*place, "count"),
                document.number(*place, "seconds", unit=MILLISECONDS),
                document.number(*place, "share", unit=PERCENT),
                document.number(*place, "macs_per_second", unit=unit_of("macs_per_second")),
                document.number(*place, "bytes_per_second", unit=unit_of("bytes_per_second")),
                document.text(*place, "bound"),
                document.number(*place, "of_bound", unit=PERCENT),
            ]
        )
    header = ("operation", "count", "ms", "share", "GMAC/s", "GB/s", "bound by", "of its bound")
    return Table(f"Step: {step_name(step['step'])}", header, rows)


def step_name(shape: Mapping[str, Any]) -> str:
    """What a step computes."""
    sizes = ", ".join(f"{words(name)} {value:,}" for name, value in shape.items() if name != "name")
    return f"{shape['name']} ({sizes})"


def _plot(document: Document) -> list[Plot]:
    steps = {step["step"]["name"]: _points(step) for step in document.find(*_STEPS)}
    if not any(steps.values()):
        return []

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        for index, (name, points) in enumerate(steps.items()):
            if points:
                axes.scatter(
                    *zip(*points, strict=True), zorder=3, label=label(name),
                    marker=MARKERS[index % len(MARKERS)], color=COLOURS[index % len(COLOURS)],
                )  # fmt: skip
        _lines(axes, document)
        axes.set_xlabel("multiply-adds per byte read")
        axes.set_ylabel("GMAC/s")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        legend_below(figure, axes, columns=4)

    return [draw(f"{document.name}-roofline", _CAPTION, [document.path], 5.0, paint)]


def _points(step: Mapping[str, Any]) -> list[tuple[float, float]]:
    """(multiply-adds per byte, GMAC/s) of the operations of which both rates are known."""
    return [
        (operation["macs_per_second"] / operation["bytes_per_second"], operation["macs_per_second"] / 1e9)
        for operation in step["operations"]
        if operation["share"] >= _LEAST_SHARE
        and operation.get("macs_per_second")
        and operation.get("bytes_per_second")
    ]


def _lines(axes: Axes, document: Document) -> None:
    """The ceilings at the largest number of threads, over the range of the points."""
    ceilings = document.find(*_CEILINGS)
    threads = max(entry["num_threads"] for entry in ceilings["read_bytes_per_second"])
    memory = next(e["max"] for e in ceilings["read_bytes_per_second"] if e["num_threads"] == threads)
    low, high = axes.get_xlim()
    x = np.geomspace(low / 2, high * 6, 200)
    small_text(axes, "memory", (x[40], memory * x[40] / 1e9), (-4, 4), "right")
    kinds = [entry for entry in ceilings["multiply_adds_per_second"] if entry["num_threads"] == threads]
    for entry in kinds:
        is_crowded = any(1 < other["max"] / entry["max"] < 1.25 for other in kinds)
        axes.plot(x, np.minimum(memory * x, entry["max"]) / 1e9, color=GREY, linewidth=1.2, zorder=1)
        small_text(axes, entry["kind"], (x[-1], entry["max"] / 1e9), (-4, -10 if is_crowded else 3), "right")
    axes.set_xlim(x[0], x[-1])
