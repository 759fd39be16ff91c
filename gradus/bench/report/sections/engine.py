"""Sections of `throughput`, `latency` and `decode`: the engine in process."""

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Table, text_cell
from gradus.bench.report.sections.common import figures_table, grid, percentiles_table, spread_table
from gradus.bench.report.sections.requests import latency_plots
from gradus.bench.report.units import PERCENT, unit_of

_THROUGHPUT = (
    *("requests_per_second", "goodput_requests_per_second", "output_tokens_per_second"),
    *("total_tokens_per_second", "ttft_seconds", "tpot_seconds", "e2e_seconds"),
)
_LATENCY = ("latency_seconds", "ttft_seconds", "tpot_seconds", "output_tokens_per_second")
_STEP_COLUMNS = ("num_steps", "num_prompt_tokens", "num_decode_tokens", "seconds", "tokens_per_second")


def throughput(document: Document) -> Content:
    return _engine(document, _THROUGHPUT)


def latency(document: Document) -> Content:
    return _engine(document, _LATENCY)


def decode(document: Document) -> Content:
    names = document.names("results")
    return Content(tables=spread_table(document, "One stream, over the runs", names, "results"))


def _engine(document: Document, figures: tuple[str, ...]) -> Content:
    kinds = document.names("results", "steps")
    return Content(
        tables=[
            *spread_table(document, "Over the runs", figures, "results"),
            *percentiles_table(document, "Percentiles over all requests", "results", "percentiles"),
            *_classes(document),
            *grid(document, "The engine's steps", "kind", kinds, _STEP_COLUMNS, "results", "steps"),
            *_utilization(document),
            *figures_table(document, "results", "counters", title="The engine's counters"),
        ],
        plots=latency_plots(f"{document.name}-latencies", {document.test_name: document}),
    )


def _classes(document: Document) -> list[Table]:
    """TTFT by the length of the prompt, where there is more than one class."""
    keys = ("results", "ttft_seconds_by_prompt")
    classes = document.names(*keys)
    if len(classes) < 2:
        return []
    columns = ("p50", "p90", "p99")
    unit = unit_of("_seconds", [document.find(*keys, name, column) for name in classes for column in columns])
    title = unit.heading("TTFT by tokens of the prompt")
    return grid(document, title, "class", classes, columns, *keys, unit=unit)


def _utilization(document: Document) -> list[Table]:
    """What share of the machine's measured ceilings the steps reached."""
    keys = ("results", "utilization")
    rows = [
        [
            text_cell(kind),
            document.median(*keys, kind, unit=PERCENT),
            document.extent(*keys, kind, unit=PERCENT),
        ]
        for kind in document.names(*keys)
        if kind != "ceilings"
    ]
    title = "Share of the roofline that the steps reached, over the runs"
    return [Table(title, ("kind of step", "median", "from – to"), rows)] if rows else []
