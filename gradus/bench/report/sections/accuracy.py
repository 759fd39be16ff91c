"""The section of `accuracy`: what lossy weights, caches and activations cost."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot, Table, text_cell
from gradus.bench.report.plots import BLUE, GREY, ORANGE, draw, legend_below, rows_axis
from gradus.bench.report.units import MIB, PERCENT, words

_KINDS = ("results", "kinds")
_MARKERS = {"answers": (BLUE, "o"), "all_text": (ORANGE, "s")}
_CAPTION = (
    "Left: perplexity over that of f32, of the right answers and of all text (1: nothing is lost). Right: "
    "the share of held-out questions that were answered right, with its 95 % interval; the grey line is "
    "f32's."
)


def accuracy(document: Document) -> Content:
    """A row per kind of weights, cache and activations."""
    kinds = document.names(*_KINDS)
    parts = list(
        dict.fromkeys(part for kind in kinds for part in document.names(*_KINDS, kind, "perplexity"))
    )
    header = ["kind", "weights, MiB"]
    for part in parts:
        header += [f"perplexity, {words(part)}", "over f32"]
    header += ["right answers", "95 %", "lost", "won", "worse by chance"]
    rows = []
    for kind in kinds:
        place = (*_KINDS, kind)
        row = [text_cell(kind), document.number(*place, "weight_bytes", unit=MIB)]
        for part in parts:
            row += [document.number(*place, figure, part) for figure in ("perplexity", "perplexity_over_f32")]
        row.append(document.number(*place, "accuracy", unit=PERCENT))
        row.append(document.interval(*place, unit=PERCENT, name="accuracy_interval_95"))
        row += [document.number(*place, figure) for figure in ("lost", "won", "worse_by_chance")]
        rows.append(row)
    return Content(
        tables=[Table("By kind", header, rows), *_bounds(document)], plots=[_plot(document, kinds)]
    )


def _bounds(document: Document) -> list[Table]:
    keys = ("results", "bounds")
    rows = []
    for kind in document.names(*keys):
        for part in document.names(*keys, kind, "ratios"):
            place = (*keys, kind)
            ratio, most = document.number(*place, "ratios", part), document.number(*place, "at_most")
            rows.append(
                [text_cell(kind), document.text(*place, "against"), text_cell(words(part)), ratio, most]
            )
    header = ("kind", "against", "perplexity of", "ratio", "at most")
    return [Table("Perplexity beside its bound", header, rows)] if rows else []


def _plot(document: Document, kinds: list[str]) -> Plot:
    found = [document.find(*_KINDS, kind) for kind in kinds]

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for part, (colour, marker) in _MARKERS.items():
            ratios = [kind["perplexity_over_f32"][part] for kind in found]
            left.plot(ratios, range(len(kinds)), marker, color=colour, label=words(part))
        left.axvline(1, color=GREY, linewidth=1)
        left.set_xlabel("perplexity, times f32's")
        for index, kind in enumerate(found):
            right.plot(kind["accuracy_interval_95"], [index, index], color=BLUE, linewidth=1.8)
            right.plot(kind["accuracy"], index, "o", color=BLUE)
        right.axvline(found[0]["accuracy"], color=GREY, linewidth=1)
        right.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
        right.set_xlabel("right answers")
        rows_axis(left, kinds)
        right.grid(visible=False, axis="y")
        right.tick_params(axis="y", length=0)
        legend_below(figure, left)

    return draw(f"{document.name}-accuracy", _CAPTION, [document.path], 1.5 + 0.3 * len(kinds), paint)
