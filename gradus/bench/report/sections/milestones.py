"""The section of `milestones`: from static batches to 4-bit weights, and each step's bound and targets."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Cell, Content, Plot, Table, text_cell
from gradus.bench.report.plots import BLUE, INK, draw, small_text
from gradus.bench.report.sections.pair import bound_cells
from gradus.bench.report.units import Unit, figure_words, unit_of, write_number

_KEYS = ("results", "milestones")
_FIGURES = (
    *("output_tokens_per_second", "ttft_seconds", "ttft_p99_seconds", "tpot_seconds", "itl_p99_seconds"),
    *("memory_bytes", "longest_context"),
)
_RATIOS = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")
_PANELS = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds", "memory_bytes")
_CAPTION = (
    "Each milestone is the one before with one thing more: speed (higher is better), time to the first "
    "token, time per later token and memory (lower is better). A line on a bar goes from the least to the "
    "greatest run."
)


def milestones(document: Document) -> Content:
    """The path's figures, its ratios, the steps with a bound, and the published targets."""
    names = document.names(*_KEYS)
    return Content(
        tables=[_figures(document, names), _ratios(document, names), *_steps(document), *_targets(document)],
        plots=[_bars(document, names)],
    )


def _units(document: Document, names: Sequence[str]) -> dict[str, Unit]:
    found = {}
    for figure in _FIGURES:
        values = [_median(document, name, figure) for name in names]
        if known := [value for value in values if value is not None]:
            found[figure] = unit_of(figure, known)
    return found


def _median(document: Document, name: str, figure: str) -> float | None:
    value = document.find(*_KEYS, name, figure)
    return value["median"] if isinstance(value, dict) else value


def _figures(document: Document, names: Sequence[str]) -> Table:
    units = _units(document, names)
    rows = [
        [
            text_cell(f"{name} {document.find(*_KEYS, name, 'name')}"),
            *(document.median(*_KEYS, name, figure, unit=unit) for figure, unit in units.items()),
        ]
        for name in names
    ]
    return Table("The path", ("milestone", *(u.heading(figure_words(f)) for f, u in units.items())), rows)


def _ratios(document: Document, names: Sequence[str]) -> Table:
    """Above 1: better."""
    bases = {"to_the_one_before": "the one before", "to_M1": "M1"}
    header = ["milestone"]
    for figure in _RATIOS:
        for base in bases.values():
            header += [f"{figure_words(figure)}, over {base}", "95 %"]
    rows: list[list[Cell]] = []
    for name in names[1:]:
        row = [text_cell(name)]
        for figure in _RATIOS:
            for base in bases:
                place = (*_KEYS, name, base, figure)
                row += [document.median(*place), document.interval(*place)]
        rows.append(row)
    return Table("How many times better (above 1: better)", header, rows)


def _steps(document: Document) -> list[Table]:
    keys = ("results", "steps")
    rows = [
        [text_cell(name), document.text(*keys, name, "switch"), *bound_cells(document, *keys, name, "bound")]
        for name in document.names(*keys)
        if document.find(*keys, name, "bound")
    ]
    header = ("milestone", "switch", "what", "measured", "95 %", "bound", "asked for", "reached")
    return [Table("Steps beside their bounds, each on its own workload", header, rows)] if rows else []


def _targets(document: Document) -> list[Table]:
    keys = ("results", "published", "targets")
    rows = []
    for name in document.names(*keys):
        for index in document.indices(*keys, name):
            place = (*keys, name, index)
            rows.append(
                [
                    text_cell(f"{name} {figure_words(document.find(*place, 'figure'))}"),
                    document.number(*place, "measured"),
                    document.number(*place, "least"),
                    document.number(*place, "most"),
                    text_cell("met" if document.find(*place, "is_met") else "not met"),
                    document.text(*place, "differs"),
                ]
            )
    title = f"Published targets ({document.find('results', 'published', 'source')})"
    header = ("step", "measured", "published, from", "to", "", "why it may differ here")
    return [Table(title, header, rows)] if rows else []


def _bars(document: Document, names: Sequence[str]) -> Plot:
    units = _units(document, names)

    def paint(figure: Figure) -> None:
        panels = [name for name in _PANELS if name in units]
        for axes, panel in zip(figure.subplots(2, 2).flat, panels, strict=False):
            _panel(axes, document, names, panel, units[panel])

    return draw(f"{document.name}-milestones", _CAPTION, [document.path], 5.2, paint)


def _panel(axes: Axes, document: Document, names: Sequence[str], figure: str, unit: Unit) -> None:
    medians = [unit.scale * (_median(document, name, figure) or 0) for name in names]
    axes.bar(names, medians, color=BLUE, width=0.7)
    for index, (name, median) in enumerate(zip(names, medians, strict=True)):
        spread, top = document.find(*_KEYS, name, figure), median
        if isinstance(spread, dict):
            low, top = (unit.scale * spread[end] for end in ("min", "max"))
            axes.plot([index, index], [low, top], color=INK, linewidth=1.2)
        small_text(axes, write_number(median), (index, top), (0, 4), "center")
    axes.set_title(unit.heading(figure_words(figure)), loc="left")
    axes.grid(visible=False, axis="x")
    axes.margins(y=0.15)
