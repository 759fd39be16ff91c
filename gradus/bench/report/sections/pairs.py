"""All pairs at a glance: what each switch gains, beside its bound where there is one."""

from collections.abc import Sequence

from gradus.bench.report.charts import RatioRow, ratios_chart, rows_height
from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content
from gradus.bench.report.plots import draw

_FIGURE = "output_tokens_per_second"
_CAPTION = (
    "What each switch gains over its first side (right of 1: better), with the 95 % interval over rounds: in "
    "what its bound is about, with the bound as a bar across, or in output tokens per second where there is "
    "no bound."
)


def pairs(documents: Sequence[Document]) -> Content:
    """A chart of two or more pairs."""
    rows = [row for document in documents for row in _rows(document)]
    if len(documents) < 2 or not rows:
        return Content()
    chart = ratios_chart(rows, "times better (logarithmic)", "bound")
    paths = [document.path for document in documents]
    return Content(plots=[draw("pairs", _CAPTION, paths, rows_height(len(rows)), chart)])


def _rows(document: Document) -> list[RatioRow]:
    switch, model = document.find("parameters", "switch"), document.model
    if bound := document.find("results", "bound"):
        measured = bound["measured"]
        name = f"{switch}: {bound['side']}, {model}"
        return [RatioRow(name, measured["median"], measured.get("interval_95"), bound["bound"])]
    return [
        RatioRow(f"{switch}: {side}, {model}", ratio["median"], ratio.get("interval_95"))
        for side, ratios in (document.find("results", "ratios") or {}).items()
        if (ratio := ratios.get(_FIGURE))
    ]
