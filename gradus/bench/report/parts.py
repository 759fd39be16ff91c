"""What a page consists of, whether it becomes HTML or Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        source, pointer: the file that a number came from, and its JSON pointer there.
        anchor: of the part of the page that a cell leads to.
        is_flagged: it says that something did not hold.
    """

    text: str
    source: Path | None = None
    pointer: str = ""
    anchor: str = ""
    is_flagged: bool = False


def text_cell(text: str) -> Cell:
    return Cell(text)


@dataclass(frozen=True, slots=True)
class Table:
    """`title` says what the rows are."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawn figure.

    Attributes:
        name: of its file, without the ending; unique on a page.
        caption: what one sees.
        sources: the files of evidence that it was drawn from.
    """

    name: str
    svg: str
    caption: str
    sources: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Content:
    """What a bench's renderer makes of a document."""

    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = field(default=())
