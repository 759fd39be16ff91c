"""`gradus bench report` as a user runs it, on evidence that was just written."""

import json

import pytest

from gradus.cli.main import main
from tests.bench.report.readers import read_html


@pytest.fixture
def results(tmp_path, tiny_model_path, capsys):
    """A folder with the evidence of two quick runs."""
    folder = tmp_path / "results"
    lengths = [
        "--input-len",
        "9",
        "--output-len",
        "5",
        "--num-requests",
        "4",
        "--runs",
        "1",
        "--no-utilization",
    ]
    for concurrency in ("1", "2"):
        output = str(folder / f"throughput-{concurrency}.json")
        flags = ["--concurrency", concurrency, "--output", output]
        assert main(["bench", "throughput", str(tiny_model_path), *lengths, *flags]) == 0
    capsys.readouterr()
    return folder


def test_html_and_markdown_are_written_and_named_in_the_last_line(results, tmp_path, capsys):
    html, markdown, summary = tmp_path / "x" / "page.html", tmp_path / "docs" / "page.md", tmp_path / "s.json"
    intro = tmp_path / "intro.md"
    intro.write_text("An *introduction*.")
    flags = [
        "--html",
        html,
        "--markdown",
        markdown,
        "--intro",
        intro,
        "--title",
        "Of today",
        "--output",
        summary,
    ]
    assert main(["bench", "report", *map(str, [results, *flags])]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("throughput-2.json" in line for line in lines[:-1])
    last = json.loads(lines[-1])
    assert last == json.loads(summary.read_text())
    assert (last["documents"], last["html"], last["markdown"]) == (2, str(html), str(markdown))
    assert sorted(last["plots"]) == sorted(map(str, (tmp_path / "docs" / "page").iterdir()))
    assert any("concurrency" in plot for plot in last["plots"])
    page = read_html(html.read_text())
    assert "Of today" in page.words
    assert "An introduction." in page.words
    assert "not in the form" not in page.words
    assert markdown.read_text().startswith("# Of today\n\nAn *introduction*.")


def test_without_flags_the_page_is_in_the_folder(results, capsys):
    assert main(["bench", "report", str(results)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["html"] == str(results / "report.html")
    assert (results / "report.html").is_file()


def test_a_folder_without_evidence_and_a_missing_introduction_are_usage_errors(tmp_path, capsys):
    assert main(["bench", "report", str(tmp_path)]) == 2
    assert "has no evidence" in capsys.readouterr().err
    assert main(["bench", "report", str(tmp_path), "--intro", str(tmp_path / "none.md")]) == 2
    assert "cannot be read" in capsys.readouterr().err
