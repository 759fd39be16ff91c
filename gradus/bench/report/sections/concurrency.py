"""Throughput against concurrency: several documents of one workload that differ in nothing else."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Cell, Content, Plot, Table
from gradus.bench.report.plots import BLUE, GREEN, ORANGE, draw, legend_below
from gradus.bench.report.sections.requests import latency_plots
from gradus.bench.report.units import MILLISECONDS, TOKENS_PER_SECOND

_CAPTION = (
    "Left: output tokens per second of all requests together, by how many are in flight; the line from least "
    "to greatest run. Right: what a request waits for its first token and for each later one."
)
_CDF_CAPTION = (
    "Latencies of single requests by how many are in flight: how many requests (upwards) had their first "
    "token, took per later token, and had ended within a time."
)
_FREE = ("url", "server", "num_runs")  # parameters that may differ


def concurrency(documents: Sequence[Document]) -> Content:
    """For every workload that was run with two or more numbers of requests in flight."""
    groups: dict[str, list[Document]] = defaultdict(list)
    for document in documents:
        if _in_flight(document) is not None:
            groups[_what_else(document)].append(document)
    tables, plots = [], []
    for found in groups.values():
        group = sorted(found, key=lambda document: (_in_flight(document), document.name))
        if len({_in_flight(document) for document in group}) < 2:
            continue
        tables.append(_table(group))
        plots.append(_plot(group))
        series = {f"{_in_flight(document)} in flight": document for document in group}
        plots += latency_plots(f"{group[0].name}-latencies-by-concurrency", series, _CDF_CAPTION)
    return Content(tables, plots)


def _in_flight(document: Document) -> int | None:
    value = document.find("parameters", "workload", "concurrency")
    return value if isinstance(value, int) else None


def _what_else(document: Document) -> str:
    """All that must be the same for documents to be points of one line."""
    parameters: dict[str, Any] = {
        name: value for name, value in document.data["parameters"].items() if name not in _FREE
    }
    workload: Mapping[str, Any] = parameters["workload"]
    parameters["workload"] = {name: value for name, value in workload.items() if name != "concurrency"}
    return json.dumps(
        [document.test_name, document.model, document.data["hardware"], parameters], sort_keys=True
    )


def _table(group: Sequence[Document]) -> Table:
    rows: list[list[Cell]] = []
    for document in group:
        row = [document.number("parameters", "workload", "concurrency")]
        row.append(document.median("results", "output_tokens_per_second", unit=TOKENS_PER_SECOND))
        row.append(document.extent("results", "output_tokens_per_second"))
        for latency in ("ttft_seconds", "tpot_seconds"):
            row.append(document.median("results", latency, unit=MILLISECONDS))
        rows.append(row)
    title = f"{group[0].model}, {group[0].find('parameters', 'workload', 'name')}: by requests in flight"
    return Table(title, ("in flight", "output tok/s", "from – to", "TTFT, ms", "TPOT, ms"), rows)


def _plot(group: Sequence[Document]) -> Plot:
    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _line(left, group, "output_tokens_per_second", 1, BLUE, "o", "output tokens per second")
        _line(right, group, "ttft_seconds", 1000, ORANGE, "s", "TTFT, ms")
        _line(right, group, "tpot_seconds", 1000, GREEN, "^", "TPOT, ms")
        for axes, name in ((left, "output tok/s"), (right, "ms")):
            counts = sorted({_in_flight(document) or 0 for document in group})
            axes.set_xscale("log")
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.tick_params(axis="x", which="minor", length=0)
            axes.set_xlabel("requests in flight")
            axes.set_ylabel(name)
        left.set_ylim(bottom=0)
        right.set_yscale("log")
        right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        right.yaxis.set_minor_formatter(NullFormatter())
        legend_below(figure, right)

    return draw(f"{group[0].name}-concurrency", _CAPTION, [document.path for document in group], 3.4, paint)


def _line(
    axes: Axes, group: Sequence[Document], figure: str, scale: float, colour: str, marker: str, name: str
) -> None:
    found = [(_in_flight(d) or 0, value) for d in group if (value := d.find("results", figure)) is not None]
    counts = [count for count, _ in found]
    axes.plot(
        counts, [scale * value["median"] for _, value in found], marker=marker, color=colour, label=name
    )
    for count, value in found:
        axes.plot([count, count], [scale * value["min"], scale * value["max"]], color=colour, linewidth=1)
