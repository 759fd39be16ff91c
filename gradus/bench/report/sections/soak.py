"""The section of `soak`: hours under load; what grew, what became slower, what failed."""

from matplotlib.figure import Figure

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import BLUE, draw
from gradus.bench.report.sections.common import percentiles_table, spread_table
from gradus.bench.report.units import MIB, unit_of, words

_COUNTS = ("num_sent", "num_failed")
_CAPTION = "Resident memory of the server's process while it was under load, as the system counts it."


def soak(document: Document) -> Content:
    """Counts, latencies of each kind of request, growth and drift."""
    return Content(
        tables=[
            *spread_table(document, "Requests", _COUNTS, "results"),
            *percentiles_table(document, "Latency by kind of request", "results", "latency_seconds"),
            *_growth(document),
            *_drift(document),
        ],
        plots=_plot(document),
    )


def _growth(document: Document) -> list[Table]:
    keys, rows = ("results", "growth"), []
    for name in document.names(*keys):
        unit = unit_of(name)
        ends = ("per_hour", "per_hour_low", "per_hour_high")
        rows.append(
            [
                text_cell(unit.heading(words(name))),
                *(document.number(*keys, name, end, unit=unit) for end in ends),
            ]
        )
    title = "Growth per hour over the second half, with its 95 % interval"
    return [Table(title, ("of", "per hour", "from", "to"), rows)] if rows else []


def _drift(document: Document) -> list[Table]:
    keys = ("results", "latency_drift")
    if not document.names(*keys):
        return []
    rows = [[text_cell("all"), document.number(*keys, "all", "ratio"), document.interval(*keys, "all")]]
    for kind in document.names(*keys, "kinds"):
        rows.append([text_cell(words(kind)), document.number(*keys, "kinds", kind), text_cell("–")])
    title = "Latency in the last third of the time over the first (above 1: slower)"
    return [Table(title, ("kind", "ratio", "95 %"), rows)]


def _plot(document: Document) -> list[Plot]:
    samples = [run for run in document.data["runs"] if "resident_bytes" in run]
    if len(samples) < 2:
        return []

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        seconds = [sample["seconds"] for sample in samples]
        axes.plot(seconds, [MIB.scale * sample["resident_bytes"] for sample in samples], color=BLUE)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("seconds under load")
        axes.set_ylabel("resident memory, MiB")

    return [draw(f"{document.name}-memory-over-time", _CAPTION, [document.path], 2.8, paint)]
