"""The section of `compare`: two documents, before and after."""

from gradus.bench.report.charts import RatioRow, ratios_chart, rows_height
from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import draw
from gradus.bench.report.units import figure_words, words

_KEYS = ("results", "changes")
_MOST_ROWS = 40
_CAPTION = (
    "How many times better each figure is afterwards (right of 1: better), with the 95 % interval over the "
    "runs of either document."
)


def compare(document: Document) -> Content:
    """A row per figure that both documents have."""
    rows = [
        [
            text_cell(_name(document, index)),
            document.median(*_KEYS, index, "ratio"),
            document.interval(*_KEYS, index, "ratio"),
        ]
        for index in document.indices(*_KEYS)
    ]
    bench, files = document.find("parameters", "bench"), ("before", "after")
    before, after = (document.find("parameters", file, "file") for file in files)
    note = f"Bench {bench}: {after} beside {before}."
    table = Table("Above 1: better afterwards", ("figure", "ratio", "95 %"), rows)
    return Content(tables=[table], plots=_plot(document), notes=[note])


def _name(document: Document, index: int) -> str:
    side, figure = (document.find(*_KEYS, index, name) for name in ("side", "figure"))
    return f"{words(side)}: {figure_words(figure)}" if side else figure_words(figure)


def _plot(document: Document) -> list[Plot]:
    changes = document.find(*_KEYS)[:_MOST_ROWS]
    rows = [
        RatioRow(_name(document, index), change["ratio"]["median"], change["ratio"].get("interval_95"))
        for index, change in enumerate(changes)
    ]
    if not rows:
        return []
    chart = ratios_chart(rows, "times better afterwards (logarithmic)")
    return [draw(f"{document.name}-changes", _CAPTION, [document.path], rows_height(len(rows)), chart)]
