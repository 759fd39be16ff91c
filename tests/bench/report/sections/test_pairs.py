"""All pairs in one chart: its rows can be told apart."""

import pytest

from gradus.bench.report.document import Document
from gradus.bench.report.sections.pairs import pairs
from tests.bench.report.conftest import EVIDENCE, sample


@pytest.mark.parametrize("has_bound", [True, False])
def test_rows_of_one_switch_on_two_models_name_them(has_bound):
    documents = []
    for model in ("small", "large"):
        data = sample("pair-chunked-prefill")
        data["model"]["name"] = model
        if not has_bound:
            del data["results"]["bound"]
        documents.append(Document(EVIDENCE / "pair-chunked-prefill.json", model, data))
    (chart,) = pairs(documents).plots
    assert all(f"chunked-prefill: 256, {model}" in chart.svg for model in ("small", "large"))
