"""The section of `memory`: what the engine's books say, beside what the system saw."""

from matplotlib.figure import Figure

from gradus.bench.report.document import Document
from gradus.bench.report.parts import Content, Plot
from gradus.bench.report.plots import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, draw, legend_below, rows_axis
from gradus.bench.report.sections.common import grid, pick
from gradus.bench.report.units import MIB

_PARTS = {  # figure -> (what it is called, colour, hatch)
    "interpreter_bytes": ("interpreter and libraries", GREY, ""),
    "weights_bytes": ("weights", BLUE, "//"),
    "kv_used_bytes": ("keys and values", ORANGE, ""),
    "activations_reserved_bytes": ("activations", GREEN, ".."),
    "unexplained_bytes": ("not in the books", PURPLE, "xx"),
}
_SYSTEM = ("system_loaded_bytes", "system_resident_bytes", "system_peak_bytes", "explained_bytes")
_CAPTION = (
    "Bars: the engine's own books, streams × tokens of each. Line: the most that the system saw resident. "
    "Reserved memory that was never written is in the books and not in the system's count, so that a bar may "
    "pass the line."
)


def memory(document: Document) -> Content:
    """A row per number of streams and length."""
    settings = document.names("results")
    books = (*_PARTS, "kv_reserved_bytes")
    return Content(
        tables=[
            *grid(document, "By the engine's books", "streams × tokens", settings, books, "results"),
            *grid(
                document,
                "By the system, and what the books explain",
                "streams × tokens",
                settings,
                _SYSTEM,
                "results",
            ),
        ],
        plots=[_bars(document, settings)],
    )


def _bars(document: Document, settings: list[str]) -> Plot:
    def size(setting: str, figure: str) -> float:
        return MIB.scale * document.find("results", setting, figure)["median"]

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        ends = [0.0] * len(settings)
        for name in pick(document, _PARTS, "results", settings[0]):
            title, colour, hatch = _PARTS[name]
            sizes = [max(0.0, size(setting, name)) for setting in settings]
            axes.barh(
                range(len(settings)), sizes, left=ends, height=0.6,
                color=colour, hatch=hatch, edgecolor="white", linewidth=0.5, label=title,
            )  # fmt: skip
            ends = [end + width for end, width in zip(ends, sizes, strict=True)]
        for index, setting in enumerate(settings):
            peak = size(setting, "system_peak_bytes")
            name = "the system's peak" if index == 0 else "_"
            axes.plot([peak, peak], [index - 0.4, index + 0.4], color=INK, linewidth=2.2, label=name)
        rows_axis(axes, settings)
        axes.set_xlabel("MiB")
        legend_below(figure, axes, columns=3)

    return draw(f"{document.name}-memory", _CAPTION, [document.path], 1.6 + 0.42 * len(settings), paint)
