"""The section of `ladder`: what each layer costs, as a table and a waterfall."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Cell, Content, Plot, Table, text_cell
from gradus.bench.report.plots import BLUE, GREEN, GREY, INK, ORANGE, draw, number_beside, rows_axis
from gradus.bench.report.units import MILLISECONDS, PERCENT, TOKENS_PER_SECOND

_RUNGS = ("results", "rungs")
_HEADER = (
    *("rung", "adds", "tok/s", "loss to rung 0", "95 %", "loss to the rung below", "95 %"),
    *("steps", "ms per step", "CPU ms per step"),
)
_CAPTION = (
    "How much of rung 0's speed is left on each rung (point, with its 95 % interval): a bar is what the "
    "layer takes away (orange) or gives back (green), from the rung below to this one."
)


def ladder(document: Document) -> Content:
    """A row per rung; llama.cpp's own loop beside them where it was measured."""
    rows = [_row(document, index) for index in document.indices(*_RUNGS)]
    if document.names("results", "reference"):
        speed = document.median("results", "reference", "tokens_per_second", unit=TOKENS_PER_SECOND)
        name = document.text("results", "reference", "name")
        rows.append([name, text_cell("outside reference"), speed, *[text_cell("–")] * 7])
    return Content(
        tables=[Table("The rungs", _HEADER, rows), *_over_reference(document)], plots=[_waterfall(document)]
    )


def _row(document: Document, index: int) -> list[Cell]:
    rung = (*_RUNGS, index)
    cells = [text_cell(_name(document, index)), document.text(*rung, "adds")]
    cells.append(document.median(*rung, "tokens_per_second", unit=TOKENS_PER_SECOND))
    for loss in ("loss_to_rung_0", "loss_to_rung_below"):
        cells.append(document.median(*rung, loss, unit=PERCENT))
        cells.append(document.interval(*rung, loss, unit=PERCENT))
    cells.append(document.median(*rung, "num_steps"))
    for time in ("seconds_per_step", "cpu_seconds_per_step"):
        cells.append(document.median(*rung, time, unit=MILLISECONDS))
    return cells


def _name(document: Document, index: int) -> str:
    rung = document.find(*_RUNGS, index)
    return f"{rung['number']} {rung['name']}"


def _over_reference(document: Document) -> list[Table]:
    keys = ("results", "reference", "rungs_over_it")
    rows = [
        [text_cell(name), document.median(*keys, name), document.interval(*keys, name)]
        for name in document.names(*keys)
    ]
    title = f"How many times as fast as {document.find('results', 'reference', 'name')}"
    return [Table(title, ("rung", "ratio", "95 %"), rows)] if rows else []


def _waterfall(document: Document) -> Plot:
    rungs = document.find(*_RUNGS)
    left = [1 - rung.get("loss_to_rung_0", {"median": 0.0})["median"] for rung in rungs]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        for index, (share, rung) in enumerate(zip(left, rungs, strict=True)):
            before = left[index - 1] if index else share
            axes.barh(
                index, share - before, left=before, height=0.62, color=ORANGE if share < before else GREEN
            )
            if index:
                axes.plot([before, before], [index - 0.69, index + 0.31], color=GREY, linewidth=0.8)
            interval = rung.get("loss_to_rung_0", {}).get("interval_95")
            low, high = (1 - interval[1], 1 - interval[0]) if interval else (share, share)
            axes.plot([low, high], [index, index], color=INK, linewidth=1.3)
            axes.plot(share, index, "o", color=BLUE, markersize=5)
            number_beside(axes, f"{100 * share:.1f} %", max(high, share, before), index)
        axes.axvline(1, color=GREY, linewidth=1)
        rows_axis(axes, [_name(document, index) for index in range(len(rungs))])
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.12 * (high - low))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        axes.set_xlabel("tokens per second, share of rung 0's")

    return draw(f"{document.name}-waterfall", _CAPTION, [document.path], 1.1 + 0.36 * len(rungs), paint)
