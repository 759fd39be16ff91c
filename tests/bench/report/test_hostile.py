"""Evidence is other people's words: they stay words, in HTML, in Markdown and in plots."""

import json
from xml.etree import ElementTree

import pytest

from gradus.bench.evidence import validate
from tests.bench.report.conftest import EVIDENCE, render, sample
from tests.bench.report.readers import read_html, read_markdown

STRINGS = [
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>',
    "</details></section></style><style>*{display:none}</style>",
    "[click](javascript:alert(1)) ![](http://example.com/x.png)",
    "| a | b |\n\n# heading\n\n```",
    "`` ` **bold** $\\frac{$ {{ 7 * 7 }} {% raw %}",
    "\x00\x1b[31m\u202e 名前",
]
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "p",
        "em",
        "strong",
        "code",
        "a",
        "div",
    ),
    *(
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "section",
        "details",
        "summary",
        "figure",
        "img",
    ),
    *("figcaption", "blockquote"),
}
KEPT = ("test_name", "test_date", "commit", "kind", "figure", "switch", "name", "base", "side", "bound")


def poisoned(value, hostile, key=""):
    """All words of a document, and the names of its sides, with something hostile in them."""
    if isinstance(value, dict):
        return {name: poisoned(item, hostile, name) for name, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item, hostile, key) for item in value]
    return f"{value} {hostile}" if isinstance(value, str) and key not in KEPT else value


def documents(hostile):
    for file in EVIDENCE.glob("*.json"):
        document = poisoned(json.loads(file.read_text()), hostile)
        validate(document)
        yield file.stem, document


@pytest.fixture(params=STRINGS)
def hostile(request):
    return request.param


def test_words_of_the_evidence_are_no_markup(hostile, folder, tmp_path):
    chosen = {
        name: document for name, document in documents(hostile) if name in ("ladder", "decode", "peers")
    }
    peers = chosen["peers"]
    peers["verification"]["absent"] = {f"row: {hostile}": hostile}
    peers["verification"][hostile] = False
    ladder = chosen["ladder"]
    ladder["results"]["rungs"][1]["name"] = hostile
    ladder["verification"]["repeats"]["beyond"] = {hostile: 0.5}
    other = sample("decode") | {"test_name": "something-else", "results": {hostile: {hostile: 1.5}}}
    html, markdown = render(folder(other=other, **chosen), tmp_path)
    for path, read in ((html, read_html), (markdown, read_markdown)):
        page = read(path.read_text())
        assert {tag for tag, _ in page.tags} <= TAGS
        assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert not any(href.startswith(("javascript", "http")) for _, href in page.links)
        sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
        assert sources
        assert all(source.startswith(("data:image/svg+xml;base64,", "report/")) for source in sources)
    shown = " ".join(hostile.replace("\x00", "\ufffd").split())
    assert shown in " ".join(read_html(html.read_text()).words.replace("\x00", "\ufffd").split())


def test_plots_are_whole_whatever_a_name_says(hostile, folder, tmp_path):
    ladder = sample("ladder")
    for rung in ladder["results"]["rungs"]:
        rung["name"] = hostile
    _, markdown = render(folder(ladder=ladder), tmp_path)
    (file,) = (markdown.parent / "report").iterdir()
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(file).iter()}
    assert not {"script", "img", "image", "foreignObject", "a"} & tags


def test_tables_of_markdown_keep_their_cells(hostile, folder, tmp_path):
    def cells(rung_words, target):
        ladder = sample("ladder")
        ladder["results"]["rungs"][1] |= rung_words
        _, markdown = render(folder(ladder=ladder), target)
        return len(read_markdown(markdown.read_text()).cells)

    assert cells({"name": hostile, "adds": hostile}, tmp_path / "a") == cells({}, tmp_path / "b")
