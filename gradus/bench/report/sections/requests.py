"""Latencies of single requests, which throughput, latency and serve keep in their runs."""

from collections.abc import Mapping, Sequence

from gradus.bench.report.charts import cdf_chart
from gradus.bench.report.document import Document
from gradus.bench.report.parts import Plot
from gradus.bench.report.plots import draw
from gradus.bench.timings import RequestTiming

CAPTION = (
    "Latencies of all requests of all runs: how many of them (upwards) had their first token, took per later "
    "token, and had ended within a time. The further left a curve, the better; the steeper, the more alike "
    "the requests were served."
)
PANELS = {"TTFT": "ttft", "TPOT": "tpot", "E2E": "e2e"}


def timings(document: Document) -> list[RequestTiming]:
    """Of all requests of all runs; none where the runs do not keep them."""
    return [
        RequestTiming.from_dict(request)
        for run in document.data["runs"]
        for request in run.get("requests", ())
    ]


def latency_plots(name: str, series: Mapping[str, Document], caption: str = CAPTION) -> list[Plot]:
    """A curve per document in every panel; a panel for which there are no values is left out."""
    requests = {label: timings(document) for label, document in series.items()}
    panels: dict[str, dict[str, Sequence[float]]] = {}
    for title, attribute in PANELS.items():
        curves: dict[str, Sequence[float]] = {
            label: values
            for label, found in requests.items()
            if (values := [value for one in found if (value := getattr(one, attribute)) is not None])
        }
        if curves:
            panels[title] = curves
    if not panels:
        return []
    height = 2.9 if len(series) == 1 else 3.2 + 0.22 * (len(series) // 3)
    return [draw(name, caption, [d.path for d in series.values()], height, cdf_chart(panels))]
