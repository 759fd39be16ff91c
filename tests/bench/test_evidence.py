"""The evidence format: its fields, and that nothing is invented."""

import json
import subprocess
import sys

import jsonschema
import pytest

import gradus
from gradus.bench.evidence import evidence, read_evidence, schema, to_line, validate
from gradus.bench.hardware import hardware
from gradus.bench.statistics import spread
from gradus.errors import ConfigError

FIELDS = [
    *("test_name", "test_date", "hardware", "software", "model", "parameters", "method", "results", "runs"),
    *("how_obtained", "verification", "commit"),
]


def document(**parts):
    values = {"model": {}, "parameters": {}, "method": "m", "results": {}, "runs": [], "verification": {}}
    return evidence("a-test", **(values | parts))


def test_a_document_has_the_formats_fields_in_order_on_one_line():
    found = document(results={"tokens_per_second": spread([3.0, 1.0, 2.0])}, runs=[{"x": 1}])
    assert [name for name in FIELDS if name in found] == list(found)
    assert set(FIELDS) - set(found) <= {"commit"}  # an installed package has none
    assert found["results"]["tokens_per_second"] == {"median": 2.0, "min": 1.0, "max": 3.0, "stdev": 1.0}
    line = to_line(found)
    assert "\n" not in line
    assert json.loads(line) == found


def test_what_was_not_measured_is_absent():
    found = document(results={"a": None, "b": {"c": None, "d": 0}}, software={"kernels": None})
    assert found["results"] == {"b": {"d": 0}}
    assert "kernels" not in found["software"]
    found = document(results={"steps": [{"a": None, "b": 1}]}, runs=[{"c": None}])
    assert found["results"] == {"steps": [{"b": 1}]}
    assert found["runs"] == [{}]
    assert None not in hardware().values()


def test_a_document_that_is_not_as_the_schema_says_is_refused():
    parts = {"model": {}, "parameters": {}, "results": {}, "verification": {}, "runs": []}
    with pytest.raises(jsonschema.ValidationError, match="A Test"):
        evidence("A Test", method="m", **parts)
    with pytest.raises(jsonschema.ValidationError, match="non-empty"):
        document(method="")
    with pytest.raises(jsonschema.ValidationError):
        document(verification={"repeats": {"within": True}})  # within what?


def test_the_schema_itself_is_one_and_refuses_what_was_not_measured():
    jsonschema.Draft202012Validator.check_schema(schema())
    found = document(results={"a": 1})
    validate(found)
    for broken in (
        {**found, "results": {"a": None}},
        {**found, "extra": 1},
        {**found, "runs": [{"a": None}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            validate(broken)


def test_what_is_no_evidence_is_refused(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_evidence(path)
    path.write_text('{"test_name": "x"}')
    with pytest.raises(ConfigError, match="is not evidence"):
        read_evidence(path)
    path.write_text('{"test_name": NaN}')
    with pytest.raises(ConfigError, match="NaN is no number in JSON"):
        read_evidence(path)


def test_what_was_written_is_read_again(tmp_path):
    path = tmp_path / "x.json"
    written = document()
    path.write_text(to_line(written))
    assert read_evidence(path) == written


def test_how_it_was_obtained_and_what_of_are_said_without_this_machines_folders(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/anywhere/bin/gradus", "bench", "x", str(tmp_path / "weights")])
    found = document(
        model={"name": str(tmp_path / "weights")},
        verification={"absent": {"a": f"there is no {tmp_path}/weights/b"}},
    )
    assert found["how_obtained"] == "measured by: gradus bench x weights"
    assert found["model"] == {"name": "weights"}
    assert found["verification"]["absent"] == {"a": "there is no weights/b"}


def test_edited_sources_are_marked_and_evidence_written_over_is_not(monkeypatch, tmp_path):
    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *command], check=True, capture_output=True)

    sources, results = tmp_path / "gradus" / "__init__.py", tmp_path / "benchmarks" / "results" / "a.json"
    for path in (sources, results):
        path.parent.mkdir(parents=True)
        path.write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    monkeypatch.setattr(gradus, "__file__", str(sources))
    clean = document()["commit"]
    results.write_text("2")
    assert document()["commit"] == clean
    sources.write_text("2")
    assert document()["commit"] == f"{clean}+changes"
