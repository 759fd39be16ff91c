"""Every bench has a section; what has none, or a strange form, still has its figures shown."""

import pytest

from gradus.bench.report.document import Document
from gradus.bench.report.sections.registry import SECTIONS, TOGETHER, content_of, together
from gradus.cli.bench import BENCHES
from tests.bench.report.conftest import EVIDENCE, sample

WITHOUT_PLOTS = ("decode", "grpc", "code")
NAMES = sorted(path.stem for path in EVIDENCE.glob("*.json"))


def document(name, data=None):
    return Document(EVIDENCE / f"{name}.json", name, data or sample(name))


def test_every_bench_that_gives_evidence_has_a_section_and_a_sample():
    assert set(BENCHES) - {"report"} <= set(SECTIONS)
    assert {sample(name)["test_name"] for name in NAMES} == set(SECTIONS)
    assert set(TOGETHER) <= set(SECTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_in_the_form_that_its_section_knows(name):
    content = content_of(document(name))
    assert not any("not in the form" in note for note in content.notes)
    assert content.tables
    assert all(len(row) == len(table.header) for table in content.tables for row in table.rows)
    assert len(content.plots) == (name not in WITHOUT_PLOTS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "results", [{}, {"strange": [1, {"x": "y"}]}, {"rungs": 3, "milestones": 1.5, "sides": []}]
)
def test_results_of_a_strange_form_are_shown_and_never_a_crash(name, results):
    content = content_of(document(name, sample(name) | {"results": results, "runs": [{"requests": 1}]}))
    shown = {cell.text for table in content.tables for row in table.rows for cell in row}
    if "strange" in results and any("not in the form" in note for note in content.notes):
        assert {"strange, 0", "strange, 1, x"} <= shown


def test_a_bench_without_a_section_gets_a_table_of_its_figures():
    data = sample("decode") | {
        "test_name": "new-one",
        "results": {"a": {"speed_seconds": {"median": 0.25}}, "b": "words"},
    }
    content = content_of(document("decode", data))
    (table,) = content.tables
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["a, speed seconds", "ms", "250", "–"],
        ["b", "", "words", "–"],
    ]
    assert table.rows[0][2].pointer == "/results/a/speed_seconds/median"


def test_a_figure_that_was_not_measured_is_a_dash():
    data = sample("ladder")
    for rung in data["results"]["rungs"]:
        rung.pop("cpu_seconds_per_step")
    rows = content_of(document("ladder", data)).tables[0].rows
    assert {row[-1].text for row in rows} == {"–"}
    assert {row[-1].source for row in rows} == {None}


def test_the_waterfall_names_every_rung_and_says_what_is_left():
    (plot,) = content_of(document("ladder")).plots
    for rung in sample("ladder")["results"]["rungs"]:
        assert f"{rung['number']} {rung['name']}" in plot.svg
        loss = rung.get("loss_to_rung_0", {"median": 0})["median"]
        assert f"{100 * (1 - loss):.1f} %" in plot.svg


def test_pairs_are_drawn_together():
    names = ("pair-chunked-prefill", "pair-prefix-caching")
    documents = [document(name) for name in names]
    (plot,) = together("pair", documents).plots
    assert "chunked-prefill" in plot.svg
    assert "prefix-caching" in plot.svg
    assert len(plot.sources) == 2
    assert together("pair", documents[:1]).plots == ()
    assert together("code", documents).plots == ()
