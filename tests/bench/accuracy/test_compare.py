"""The accuracy bench: its counts, its bounds, and that a kind which is worse is seen."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gradus.bench.accuracy.compare import Quality, bench_accuracy, bounds, compared
from gradus.bench.accuracy.kinds import EXACT, KINDS, find_kinds
from gradus.bench.accuracy.quality import Text
from gradus.bench.evidence import to_line
from gradus.errors import ConfigError

TEXTS = [Text([1, 2], [3, 4])] * 20
QUESTIONS = [{"category": "a"}] * 20
PERFECT = Quality(EXACT, 8, [np.array([2.0, 1.0, 1.0])] * 20, [[3]] * 20, [True] * 20)


def test_the_document_has_every_kind_and_what_was_verified():
    document = json.loads(to_line(bench_accuracy("demo", find_kinds("int8"), 13, 1, lambda name: None)))
    assert document["parameters"]["questions"] == "a sample: 13 of 715"
    kinds = document["results"]["kinds"]
    assert list(kinds) == ["f32", "int8"]
    for run in document["runs"]:
        assert kinds[run["kind"]]["right"] == sum(run["right"])
        mean = sum(run["losses"]) / sum(run["num_tokens"])
        assert kinds[run["kind"]]["perplexity"]["all_text"] == pytest.approx(np.exp(mean))
    assert document["results"]["bounds"]["int8"]["against"] == "f32"
    assert set(document["verification"].values()) == {True}


def test_a_kind_beyond_its_bound_is_seen():
    lossy = replace(PERFECT, kind=KINDS["int8"], losses=[np.array([2.0, 1.0, 1.03])] * 20)
    ratios = bounds({"f32": PERFECT, "int8": lossy}, TEXTS)["int8"]["ratios"]
    assert ratios["answers"] == pytest.approx(np.exp(0.03 / 2))
    assert max(ratios.values()) > KINDS["int8"].at_most


def test_lost_answers_are_counted_against_f32_and_weighed():
    lossy = replace(PERFECT, kind=KINDS["int8"], right=[False] * 8 + [True] * 12)
    found = compared(lossy, PERFECT, QUESTIONS, TEXTS)
    assert (found["lost"], found["won"], found["right"], found["accuracy"]) == (8, 0, 12, 0.6)
    assert found["worse_by_chance"] == pytest.approx(0.5**8)
    low, high = found["accuracy_interval_95"]
    assert low < 0.6 < high
    assert compared(PERFECT, PERFECT, QUESTIONS, TEXTS)["worse_by_chance"] == 1.0


def test_measuring_again_must_give_the_same_bits():
    other = replace(PERFECT, losses=[*PERFECT.losses[:-1], np.array([2.0, 1.0, 1.0 + 1e-12])])
    assert PERFECT.is_same(replace(PERFECT))
    assert not PERFECT.is_same(other)


def test_a_model_without_held_out_questions_is_refused():
    with pytest.raises(ConfigError, match="cannot be marked"):
        bench_accuracy("dummy:qwen3-0.6b", find_kinds("int8"), None, 1, lambda name: None)
