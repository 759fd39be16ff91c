"""The dashboard and the scrape example ask for what a server really has."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.server.harness import say, serving
from tests.server.prometheus import scrape

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/gradus.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
SCRAPE = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]


@pytest.fixture(scope="module")
def samples():
    """The names of a server's samples, and the labels of each."""
    labels = {}
    with serving(say("yes")) as server:
        for name, *pairs in scrape(server):
            labels.setdefault(name, set()).update(label for label, _ in pairs)
    return labels


def test_every_queried_metric_exists_and_every_metric_is_shown(samples):
    queries = [*EXPRESSIONS, *(v.get("definition", "") for v in DASHBOARD["templating"]["list"])]
    queried = {name for query in queries for name in re.findall(r"gradus:\w+", query)}
    assert queried <= set(samples)
    suffixes = re.compile(r"_(bucket|sum|count)$")
    families = {suffixes.sub("", name) for name in samples}
    assert {suffixes.sub("", name) for name in queried} == families


def test_labels_that_are_summed_by_are_labels_of_the_metric(samples):
    for expression in EXPRESSIONS:
        for label, name in re.findall(r"sum by \((\w+)\) \((?:rate|increase)\((gradus:\w+)", expression):
            assert label in samples[name], expression
        assert expression.count("(") == expression.count(")")


def test_legends_use_labels_that_the_query_leaves():
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in re.findall(r"\w+", target["expr"])


def test_panels_are_apart_and_read_the_chosen_source():
    cells = set()
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in DASHBOARD["panels"]:
        position = panel["gridPos"]
        for x in range(position["x"], position["x"] + position["w"]):
            assert 0 <= x < 24
            for y in range(position["y"], position["y"] + position["h"]):
                assert (x, y) not in cells
                cells.add((x, y))
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"


def test_the_scrape_example_asks_the_route_that_there_is_and_brings_a_key():
    with serving(say("yes")) as server:
        assert server.http.get(SCRAPE["metrics_path"]).status_code == 200
    assert SCRAPE["authorization"]["type"] == "Bearer"


def test_every_metric_is_defined_on_the_page(samples):
    page = (ROOT / "docs/observability.md").read_text()
    defined = set(re.findall(r"^\| `(\w+)", page, re.MULTILINE))
    suffixes = re.compile(r"^gradus:|_(bucket|sum|count)$")
    assert {suffixes.sub("", name) for name in samples} <= defined
