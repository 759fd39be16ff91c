"""Evidence in the form that each bench writes it, and pages of it.

The documents in `evidence/` were cut down from quick runs on a busy machine: they show the form, and are no
results.
"""

import json
from pathlib import Path

import pytest

from gradus.bench.report.folder import read_folder
from gradus.bench.report.html import write_html
from gradus.bench.report.markdown import write_markdown
from gradus.bench.report.page import make_page
from gradus.cli.bench import BENCHES

EVIDENCE = Path(__file__).parent / "evidence"


def render(folder, target):
    """Both pages of a folder, written into another; returns their paths."""
    page = make_page("Benchmarks", read_folder(folder), BENCHES)
    html, markdown = target / "pages" / "report.html", target / "pages" / "report.md"
    write_html(page, html, "Words *before*.")
    write_markdown(page, markdown, "Words *before*.")
    return html, markdown


def sample(name):
    """A document to change and write elsewhere."""
    return json.loads((EVIDENCE / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """HTML and Markdown of all samples."""
    return render(EVIDENCE, tmp_path_factory.mktemp("report"))


@pytest.fixture
def folder(tmp_path):
    """Writes documents by name into a folder; returns it."""

    def write(**documents):
        target = tmp_path / "evidence"
        target.mkdir(exist_ok=True)
        for name, document in documents.items():
            text = document if isinstance(document, str) else json.dumps(document)
            (target / f"{name}.json").write_text(text)
        return target

    return write
