"""The section of `startup`: from a process's start to its first token, in phases."""

from matplotlib.figure import Figure

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import COLOURS, HATCHES, INK, draw, label, legend_below, rows_axis
from gradus.bench.report.sections.common import grid
from gradus.bench.report.units import figure_words, write_number

_STARTS = ("results", "starts")
_SUMS = ("ready_seconds", "first_token_seconds")
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
    def seconds(start: str, figure: str) -> float:
        return (document.find(*_STARTS, start, figure) or {"median": 0.0})["median"]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        ends = [0.0] * len(starts)
        for index, phase in enumerate(phases):
            widths = [max(0.0, seconds(start, phase)) for start in starts]
            _stack(axes, ends, widths, index, label(figure_words(phase)))
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        rest = [max(0.0, seconds(s, "ready_seconds") - end) for s, end in zip(starts, ends, strict=True)]
        rest = [width if end == 0 else 0.0 for width, end in zip(rest, ends, strict=True)]
        _stack(axes, ends, rest, len(phases), "to ready, not divided")
        for index, start in enumerate(starts):
            first = seconds(start, "first_token_seconds")
            axes.plot([first, first], [index - 0.4, index + 0.4], color=INK, linewidth=2)
            shown = f"{write_number(first)} s"
            axes.annotate(shown, (first, index), xytext=(7, 0), textcoords="offset points", va="center")
        rows_axis(axes, starts)
        axes.set_xlabel("seconds from the process's start")
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
        legend_below(figure, axes)

    return draw(f"{document.name}-startup", _CAPTION, [document.path], 2.0 + 0.4 * len(starts), paint)


def _stack(axes, left, widths, index, name):  # type: ignore
    if any(widths):
        axes.barh(
            range(len(widths)), widths, left=left, height=0.6, label=name,
            color=COLOURS[index % len(COLOURS)], hatch=HATCHES[index % len(HATCHES)], edgecolor="white", linewidth=0.5,
        )  # fmt: skip
