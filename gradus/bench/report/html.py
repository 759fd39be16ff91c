"""A page as one HTML file: plots and style inside, no script, nothing that a browser would fetch."""

import base64
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gradus.bench.report.links import link_to
from gradus.bench.report.page import Page
from gradus.bench.report.parts import Cell, Plot


def write_html(page: Page, path: Path, intro: str = "") -> None:
    """intro: Markdown, which stands before everything else."""
    environment = Environment(
        loader=PackageLoader("gradus.bench.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("page.html.j2").render(
        page=page,
        intro=_from_markdown(intro),
        href=lambda cell: _href(path, cell),
        link=lambda source: link_to(path, source),
        image=_image,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _href(page: Path, cell: Cell) -> str:
    if cell.source is not None:
        return link_to(page, cell.source, cell.pointer)
    return f"#{cell.anchor}" if cell.anchor else ""


def _image(plot: Plot) -> str:
    """A plot as an image in the page itself: what is in it cannot run, whatever it says."""
    return "data:image/svg+xml;base64," + base64.b64encode(plot.svg.encode()).decode()


def _from_markdown(text: str) -> Markup:
    """Without raw HTML, and without images, which might be elsewhere."""
    from markdown_it import MarkdownIt

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))
