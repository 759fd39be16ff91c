"""The section of `pair`: one switch of the engine, its sides, their ratios, and the gain's bound."""

from gradus.bench.report.charts import RatioRow, ratios_chart, rows_height
from gradus.bench.report.document import Document, Key
from gradus.bench.report.parts import Cell, Content, Plot, Table, text_cell
from gradus.bench.report.plots import draw
from gradus.bench.report.sections.common import grid, pick
from gradus.bench.report.units import figure_words

_FIGURES = (
    *(
        "output_tokens_per_second",
        "total_tokens_per_second",
        "ttft_seconds",
        "ttft_p99_seconds",
        "tpot_seconds",
    ),
    *("e2e_p99_seconds", "itl_p99_seconds", "longest_gap_seconds", "num_steps", "num_computed_prompt_tokens"),
    *("prefix_cache_hit_rate", "num_resident_at_most", "weight_bytes", "kv_held_bytes"),
)
_PLOTTED = (
    *("output_tokens_per_second", "ttft_seconds", "tpot_seconds", "longest_gap_seconds"),
    *("weight_bytes", "kv_held_bytes"),
)
_CAPTION = (
    "How many times better each side is than the first one, {base} (right of 1: better), with the 95 % "
    "interval over rounds, and the bound across where there is one. Sizes that are alike on both sides are "
    "left out."
)


def pair(document: Document) -> Content:
    """Sides as rows; ratios to the first; what the gain was held against."""
    sides = document.names("results", "sides")
    return Content(
        tables=[
            *grid(document, "The sides", "side", sides, _FIGURES, "results", "sides"),
            *_ratios(document),
            *_bound(document),
        ],
        plots=_plot(document),
    )


def bound_cells(document: Document, *keys: Key) -> list[Cell]:
    """What was measured beside its bound, at a place."""
    is_reached = document.find(*keys, "is_reached")
    return [
        document.text(*keys, "what"),
        document.median(*keys, "measured"),
        document.interval(*keys, "measured"),
        document.number(*keys, "bound"),
        document.number(*keys, "least"),
        text_cell("–" if is_reached is None else "yes" if is_reached else "no"),
    ]


def _ratios(document: Document) -> list[Table]:
    keys = ("results", "ratios")
    rows = []
    for side in document.names(*keys):
        for figure in pick(document, _FIGURES, *keys, side):
            place = (*keys, side, figure)
            ratio = [document.median(*place), document.interval(*place)]
            rows.append([text_cell(side), text_cell(figure_words(figure)), *ratio])
    title = f"How many times better than {document.find('results', 'base')} (above 1: better)"
    return [Table(title, ("side", "figure", "ratio", "95 %"), rows)] if rows else []


def _bound(document: Document) -> list[Table]:
    if not document.names("results", "bound"):
        return []
    header = ("what", "measured", "95 %", "bound", "asked for", "reached")
    return [Table("The gain beside its bound", header, [bound_cells(document, "results", "bound")])]


def _plot(document: Document) -> list[Plot]:
    found = document.find("results", "ratios")
    rows = [
        RatioRow(f"{side}: {figure_words(figure)}", ratio["median"], ratio.get("interval_95"))
        for side, ratios in found.items()
        for figure in _PLOTTED
        if (ratio := ratios.get(figure)) is not None and ratio.get("interval_95") != [1, 1]
    ]
    if bound := document.find("results", "bound"):
        measured = bound["measured"]
        rows.append(
            RatioRow(
                f"{bound['side']}: {bound['what']}",
                measured["median"],
                measured.get("interval_95"),
                bound["bound"],
            )
        )
    if not rows:
        return []
    caption = _CAPTION.format(base=document.find("results", "base"))
    chart = ratios_chart(rows, "times better (logarithmic)", "bound")
    return [draw(f"{document.name}-ratios", caption, [document.path], rows_height(len(rows)), chart)]
