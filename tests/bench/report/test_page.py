"""Both pages against the evidence that they were made from."""

import json
from xml.etree import ElementTree

import pytest

from gradus.bench.report.sections.registry import SECTIONS
from tests.bench.report.conftest import EVIDENCE, render, sample
from tests.bench.report.readers import ONLY_NUMBERS, read_html, read_markdown, says, target_of

READERS = {".html": read_html, ".md": read_markdown}


@pytest.fixture(params=[0, 1], ids=["html", "markdown"])
def page(request, pages):
    path = pages[request.param]
    return path, READERS[path.suffix](path.read_text())


def test_every_linked_number_is_at_its_place_in_the_evidence(page):
    path, read = page
    places = [(text, href) for text, href in read.links if "#/" in href]
    assert len(places) > 800
    for text, href in places:
        file, value = target_of(path, href)
        assert file.parent == EVIDENCE
        assert says(text, value), (text, href, value)


def test_no_number_stands_in_a_table_without_its_place(page):
    _, read = page
    numbers = [(text, href) for text, href in read.cells if ONLY_NUMBERS.fullmatch(text.strip())]
    assert len(numbers) > 800
    assert [text for text, href in numbers if not href or "#/" not in href] == []


def test_every_bench_and_every_file_is_shown(page):
    _, read = page
    for name in SECTIONS:
        assert f"\n{name}: " in read.words or f"\n{name}\n" in read.words
    for file in EVIDENCE.glob("*.json"):
        assert (file.name, True) in [(text, href.endswith(file.name)) for text, href in read.links]
    assert "not in the form" not in read.words


def test_links_within_the_page_lead_somewhere(page):
    _, read = page
    ids = {attributes.get("id") for _, attributes in read.tags}
    assert {href[1:] for _, href in read.links if href.startswith("#")} <= ids


def test_the_introduction_and_how_it_was_measured_are_there(page):
    _, read = page
    assert read.words.index("Words before.") < read.words.index("What was measured")
    for file in EVIDENCE.glob("*.json"):
        document = json.loads(file.read_text())
        words = " ".join(read.words.split())
        assert document["how_obtained"] in words
        assert " ".join(document["method"].split()) in words


def test_what_did_not_hold_or_repeat_comes_first(page):
    _, read = page
    start, end = read.words.index("Not all of this held or repeated"), read.words.index("What was measured")
    for file in EVIDENCE.glob("*.json"):
        verification = json.loads(file.read_text())["verification"]
        failed = [name for name, holds in verification.items() if holds is False]
        for name in failed:
            assert f"not so: {name.replace('_', ' ')}" in read.words[start:end]
        beyond = verification.get("repeats", {}).get("beyond")
        if beyond:
            worst = max(beyond, key=beyond.get).replace("_", " ")
            assert f"not repeatable: {worst}" in read.words[start:end]
        for name in beyond or ():
            assert f"not repeatable: {name.replace('_', ' ')}" in read.words[end:]


def test_where_all_held_nothing_is_flagged(folder, tmp_path):
    for path in render(folder(memory=sample("memory")), tmp_path):
        read = READERS[path.suffix](path.read_text())
        assert "Not all of this" not in read.words
        assert "not so" not in read.words
        assert "not repeatable" not in read.words


def test_the_same_evidence_gives_the_same_bytes(folder, tmp_path):
    evidence = folder(ladder=sample("ladder"), roofline=sample("roofline"))

    def files():
        render(evidence, tmp_path)
        return {path: path.read_bytes() for path in (tmp_path / "pages").rglob("*.*") if path.is_file()}

    first = files()
    assert len(first) == 4
    assert files() == first


def test_html_is_self_contained(pages):
    html, _ = pages
    read = read_html(html.read_text())
    tags = [tag for tag, _ in read.tags]
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(tags)
    assert all(
        attributes["src"].startswith("data:image/svg+xml;base64,")
        for tag, attributes in read.tags
        if tag == "img"
    )
    assert "default-src 'none'" in html.read_text()
    assert not any("://" in href for _, href in read.links)
    assert tags.count("img") > 15
    assert all(attributes["alt"] for tag, attributes in read.tags if tag == "img")


def test_markdown_has_its_plots_beside_it_each_with_words_for_who_does_not_see_it(pages):
    _, markdown = pages
    read = read_markdown(markdown.read_text())
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    files = {(markdown.parent / image["src"]).resolve() for image in images}
    assert files == {path.resolve() for path in (markdown.parent / "report").iterdir()}
    assert all(image["alt"] for image in images)
    for file in files:
        assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert file.stat().st_size < 150_000
