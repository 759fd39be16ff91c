"""Sections of `serve` and `grpc`: a server, seen from a client."""

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content
from gradus.bench.report.sections.common import figures_table, grid, percentiles_table, spread_table
from gradus.bench.report.sections.requests import latency_plots
from gradus.bench.report.units import Unit

_THROUGHPUT = (
    *("requests_per_second", "good_requests_per_second", "output_tokens_per_second"),
    *("total_tokens_per_second", "duration_seconds", "client_cpu_share"),
)
_COUNTS = ("num_successful_requests", "num_failed_requests", "num_input_tokens", "num_output_tokens")


def serve(document: Document) -> Content:
    """Throughput over the runs, and the latencies of all requests."""
    return Content(
        tables=[
            *spread_table(document, "Over the runs", _THROUGHPUT, "results"),
            *percentiles_table(document, "Over all requests", "results", "latencies"),
            *spread_table(document, "Counted over all runs", _COUNTS, "results"),
        ],
        plots=latency_plots(f"{document.name}-latencies", {"serve": document}),
    )


def grpc(document: Document) -> Content:
    """Messages per token, what buffering adds, and many connections at once."""
    sides = [
        name for name in ("buffered", "unbuffered") if document.find("results", "first_message_ms", name)
    ]
    added = [
        name
        for name in ("first_message_added_ms", "first_text_in_buffer_ms")
        if document.names("results", name)
    ]
    shares = ("p50", "p90", "p99", "max")
    keys, unit = ("results", "first_message_ms"), Unit("ms")
    return Content(
        tables=[
            *spread_table(
                document, "Over the runs", ("messages_per_token", "tokens_per_second_of_a_stream"), "results"
            ),
            *grid(document, "Time to the first message, ms", "buffer", sides, shares, *keys, unit=unit),
            *grid(document, "What the buffer adds, ms", "measured", added, shares, "results", unit=unit),
            *figures_table(document, "results", "connections", title="Connections at once"),
        ]
    )
