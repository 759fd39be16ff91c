"""What is read from a folder, and what is told apart."""

import pytest

from gradus.bench.report.folder import read_folder
from gradus.errors import ConfigError
from tests.bench.report.conftest import render, sample
from tests.bench.report.readers import read_html, read_markdown

BROKEN = {
    "cut": '{"test_name": "throughput"',
    "null": "null",
    "nan": '{"test_name": NaN}',
    "deep": "[" * 100_000,
    "other": '{"name": "somebody\'s package"}',
}


def test_files_that_are_not_evidence_are_listed_with_their_reason(folder, tmp_path):
    path = folder(good=sample("decode"), **BROKEN)
    (path / "bytes.json").write_bytes(b"\xff\xfe")
    found = read_folder(path)
    assert [document.path.name for document in found.documents] == ["good.json"]
    reasons = {misfit.path.stem: misfit.reason for misfit in found.misfits}
    assert set(reasons) == {*BROKEN, "bytes"}
    assert "test_name" in reasons["other"]
    assert "NaN" in reasons["nan"]
    html, markdown = render(path, tmp_path)
    for page in (read_html(html.read_text()), read_markdown(markdown.read_text())):
        assert "Files that are not evidence" in page.words
        assert {name for name in reasons if f"{name}.json" in page.words} == set(reasons)


def test_folders_in_the_folder_are_read_and_names_are_unique(folder):
    path = folder(decode=sample("decode"))
    for inner in ("a b", "a-b", "a_b"):
        (path / inner).mkdir()
        (path / inner / "x.json").write_text((path / "decode.json").read_text())
    names = [document.name for document in read_folder(path).documents]
    assert len(set(names)) == 4
    assert set(names) == {"decode", "a-b-x", "a-b-x-2", "a-b-x-3"}


@pytest.mark.parametrize(
    ("documents", "said"), [({}, "has no evidence"), ({"x": "{}"}, "1 JSON files there are something else")]
)
def test_a_folder_without_evidence_is_an_error(folder, documents, said):
    with pytest.raises(ConfigError, match=said):
        read_folder(folder(**documents))


def test_what_is_no_folder_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        read_folder(tmp_path / "none")
