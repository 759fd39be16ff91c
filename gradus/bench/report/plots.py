"""How plots look, and how they become SVG: the same input gives the same bytes.

Knows no bench. Text in plots is evidence's, so that it is never taken for markup or formulas.
"""

import warnings
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from gradus.bench.report.parts import Plot

# Okabe & Ito's palette, which colour-blind readers can tell apart (jfly.uni-koeln.de/color).
BLUE, ORANGE, GREEN, PURPLE, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
GREY, INK = "#8A8A8A", "#222222"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "--")
WIDTH = 8.0  # inches

_STYLE: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",
}
_LABEL_WIDTH = 38  # characters

Align = Literal["left", "center", "right"]
Paint = Callable[[Figure], None]


def draw(name: str, caption: str, sources: Sequence[Path], height: float, paint: Paint) -> Plot:
    """Let `paint` draw on an empty figure of the page's width and `height` inches."""
    drawn = BytesIO()
    style: Any = {**_STYLE, "svg.hashsalt": name}
    with rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # readers' fonts may have it
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return Plot(name, drawn.getvalue().decode(), caption, tuple(sources))


def label(text: str) -> str:
    """Words of the evidence as they may stand in a plot: printable, in two lines at most."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return "\n".join(wrap(shown, _LABEL_WIDTH, max_lines=2, placeholder=" …"))


def number_beside(axes: Axes, text: str, x: float, row: int) -> None:
    """A number to the right of a row's mark, readable over lines."""
    axes.annotate(
        text,
        (x, row),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )


def small_text(
    axes: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], align: Align
) -> None:
    """Words or a number, `offset` points from a place."""
    axes.annotate(label(text), place, xytext=offset, textcoords="offset points", ha=align, fontsize=8.5)


def rows_axis(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart with horizontal bars or points, the first on top."""
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def legend_below(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """The legend under all axes, where it covers nothing."""
    handles, names = axes.get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)))
