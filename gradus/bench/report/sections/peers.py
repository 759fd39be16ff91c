"""The section of `peers`: Gradus beside other engines, row by row, with intervals and goals."""

from gradus.bench.report.charts import RatioRow, ratios_chart, rows_height
from gradus.bench.report.document import Document
from gradus.bench.report.parts import Cell, Content, Plot, Table, text_cell
from gradus.bench.report.plots import draw
from gradus.bench.report.units import figure_words, unit_of

_CAPTION = (
    "How many times better Gradus is than each peer (right of 1: Gradus is better), with the 95 % interval "
    "over rounds; the bar across is the goal."
)
_HEADER = (
    *("row", "figure", "peer", "Gradus", "from – to", "peer", "from – to"),
    *("ratio", "95 %", "goal", ""),
)


def peers(document: Document) -> Content:
    """A row per comparison and peer; the absent ones with their reason."""
    rows = [
        row
        for name in document.names("results")
        for peer in document.names("results", name, "ratios")
        if (row := _row(document, name, peer))
    ]
    tables = (
        [Table("Sides took turns; a ratio above 1 says that Gradus is better", _HEADER, rows)] if rows else []
    )
    return Content(tables=[*tables, *_absent(document)], plots=_plot(document))


def _row(document: Document, name: str, peer: str) -> list[Cell]:
    place = ("results", name)
    figure = document.find(*place, "figure")
    ours = _ours(document, name)
    sides = [document.find(*place, "sides", side) for side in (ours, peer)]
    unit = unit_of(figure, [side["median"] for side in sides])
    ratio, goal = (*place, "ratios", peer), document.find(*place, "goal")
    return [
        text_cell(name),
        text_cell(unit.heading(figure_words(figure))),
        text_cell(peer),
        *(
            cell
            for side in (ours, peer)
            for cell in (
                document.median(*place, "sides", side, unit=unit),
                document.extent(*place, "sides", side, unit=unit),
            )
        ),
        document.median(*ratio),
        document.interval(*ratio),
        document.number(*place, "goal"),
        text_cell("reached" if document.find(*ratio, "median") >= goal else "not reached"),
    ]


def _ours(document: Document, name: str) -> str:
    """The side that the others are compared with."""
    peers = document.names("results", name, "ratios")
    return next(side for side in document.names("results", name, "sides") if side not in peers)


def _absent(document: Document) -> list[Table]:
    keys = ("verification", "absent")
    rows = [[text_cell(side), document.text(*keys, side)] for side in document.names(*keys)]
    return [Table("Not measured", ("row and side", "why"), rows)] if rows else []


def _plot(document: Document) -> list[Plot]:
    rows = [
        RatioRow(f"{name}: {peer}", ratio["median"], ratio.get("interval_95"), found.get("goal"))
        for name, found in document.find("results").items()
        for peer, ratio in found.get("ratios", {}).items()
    ]
    if not rows:
        return []
    chart = ratios_chart(rows, "times better than the peer (logarithmic)")
    return [draw(f"{document.name}-peers", _CAPTION, [document.path], rows_height(len(rows)), chart)]
