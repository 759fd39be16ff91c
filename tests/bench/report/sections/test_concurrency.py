"""Throughput against concurrency: which documents belong to one line, and what it is drawn from."""

import pytest

from gradus.bench.report.document import Document
from gradus.bench.report.sections.concurrency import concurrency
from gradus.bench.report.sections.requests import timings
from tests.bench.report.conftest import EVIDENCE, sample


def documents(*changes):
    found = []
    for number, change in enumerate(changes):
        data = sample("throughput-1")
        data["parameters"]["workload"]["concurrency"] = number + 1
        change(data)
        found.append(Document(EVIDENCE / "throughput-1.json", f"d{number}", data))
    return found


def nothing(data):
    pass


def test_documents_that_differ_in_concurrency_only_are_one_table_and_two_plots():
    content = concurrency(documents(nothing, nothing, nothing)[::-1])
    (table,) = content.tables
    assert [row[0].text for row in table.rows] == ["1", "2", "3"]
    against, latencies = content.plots
    assert "requests in flight" in against.svg
    assert all(f"{count} in flight" in latencies.svg for count in (1, 2, 3))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["parameters"].update(num_threads=7),
        lambda data: data["parameters"]["workload"].update(input_len=7),
        lambda data: data["model"].update(name="another"),
        lambda data: data["hardware"].update(num_cores=64),
        lambda data: data["parameters"]["workload"].pop("concurrency"),
    ],
)
def test_documents_that_differ_in_more_are_not_one_line(change):
    content = concurrency(documents(nothing, change))
    assert list(content.tables) == []
    assert list(content.plots) == []


def test_latencies_are_those_of_all_requests_of_all_runs():
    data = sample("throughput-1")
    expected = [
        request["first_token"] - request["start"] for run in data["runs"] for request in run["requests"]
    ]
    found = timings(Document(EVIDENCE, "d", data))
    assert [timing.ttft for timing in found] == expected
    assert len(expected) > 10
