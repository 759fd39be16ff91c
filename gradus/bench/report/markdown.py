"""A page as Markdown (GitHub's), with its plots as SVG files in a folder beside it."""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from gradus.bench.report.links import link_to
from gradus.bench.report.page import Page
from gradus.bench.report.parts import Cell, Plot, Table

_MARKUP = re.compile(r"[\\`*_\[\]|~$#!]")
_NUMERIC = re.compile(r"[-–\d]")


class Raw(str):
    """Text that is Markdown already."""


def write_markdown(page: Page, path: Path, intro: str = "") -> list[Path]:
    """Write it and its plots; returns the plots' files.

    intro: Markdown, which stands before everything else.
    """
    environment = Environment(
        loader=PackageLoader("gradus.bench.report"),
        autoescape=False,  # it escapes HTML; `finalize` escapes Markdown, HTML included
        finalize=lambda value: value if isinstance(value, Raw) else escape(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots_folder, plots = path.with_suffix(""), []

    def image(plot: Plot) -> Raw:
        file = plots_folder / f"{plot.name}.svg"
        plots_folder.mkdir(parents=True, exist_ok=True)
        file.write_text(plot.svg, encoding="utf-8")
        plots.append(file)
        return Raw(f"![{escape(plot.caption)}]({link_to(path, file)})")

    text = environment.get_template("page.md.j2").render(
        page=page,
        intro=Raw(intro.strip()),
        link=lambda source: Raw(link_to(path, source)),
        table=lambda table: _table(path, table),
        image=image,
        code=code_span,
        raw=Raw,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n", encoding="utf-8")
    return plots


def escape(text: str) -> str:
    """Words that mean nothing but themselves."""
    shown = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", shown).replace("://", "&#58;//")


def code_span(text: str) -> Raw:
    """In backticks: more of them than the text has in a row."""
    shown = " ".join(text.split())
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return Raw(f"{fence} {shown} {fence}")


def _table(page: Path, table: Table) -> Raw:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    columns = range(len(table.header))
    rules = ["---:" if column and _is_numeric(table, column) else "---" for column in columns]
    rows = [row([_cell(page, cell) for cell in cells]) for cells in table.rows]
    return Raw("\n".join([row([escape(name) or " " for name in table.header]), row(rules), *rows]))


def _is_numeric(table: Table, column: int) -> bool:
    return all(_NUMERIC.match(row[column].text) for row in table.rows)


def _cell(page: Path, cell: Cell) -> str:
    text = escape(cell.text) or " "
    if cell.source is not None:
        text = f"[{text}]({link_to(page, cell.source, cell.pointer)})"
    elif cell.anchor:
        text = f"[{text}](#{cell.anchor})"
    return f"**{text}**" if cell.is_flagged else text
