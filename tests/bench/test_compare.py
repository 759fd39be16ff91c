"""Before and after: which figures are compared, which direction is better, and when one got worse."""

import json

import numpy as np
import pytest

from gradus.bench.compare import compare, comparison_evidence, lower_is_better, samples
from gradus.bench.evidence import evidence, to_line
from gradus.cli.main import main
from gradus.errors import ConfigError


def document(runs, name="a-test"):
    return evidence(
        name, model={}, parameters={}, method="m", results={}, runs=runs, verification={"it_ran": True}
    )


def runs(*speeds, side="on"):
    return [
        {"side": side, "round": i + 1, "tokens_per_second": speed, "ttft_seconds": 1 / speed, "ok": True}
        for i, speed in enumerate(speeds)
    ]


def test_samples_are_the_numbers_of_each_side():
    found = samples([*runs(10.0, 20.0), *runs(5.0, side="off"), {"row": "x", "peak_bytes": [1, 2]}])
    assert found["on", "tokens_per_second"] == [10.0, 20.0]
    assert found["off", "ttft_seconds"] == [0.2]
    assert found["x", "peak_bytes"] == [1.0, 2.0]
    assert not any(figure in ("round", "ok", "side") for _, figure in found)


def test_a_name_tells_which_direction_is_better():
    assert lower_is_better("ttft_seconds") is True
    assert lower_is_better("output_tokens_per_second") is False
    assert lower_is_better("num_steps") is None


def test_the_ratio_is_above_one_where_the_second_is_better_in_either_direction():
    changes = compare(document(runs(10.0, 11.0, 9.0)), document(runs(20.0, 22.0, 18.0)))
    assert {change.figure: change.ratio.median for change in changes} == pytest.approx(
        {"tokens_per_second": 2.0, "ttft_seconds": 2.0}
    )
    assert not any(change.is_worse(0.05) for change in changes)


def test_worse_is_more_than_the_threshold_and_more_than_chance():
    steady = document(runs(100.0, 101.0, 99.0, 100.5, 99.5))
    slower = document(runs(90.0, 91.0, 89.0, 90.5, 89.5))
    noisy = document(runs(60.0, 140.0, 90.0, 70.0, 130.0))
    assert all(change.is_worse(0.05) for change in compare(steady, slower))
    assert not any(change.is_worse(0.15) for change in compare(steady, slower))
    assert not any(change.is_worse(0.05) for change in compare(steady, noisy))
    interval = compare(steady, slower)[0].ratio.interval
    assert interval[0] < 0.9 < interval[1] < 1


def test_the_interval_holds_the_true_ratio_as_often_as_it_says():
    draw, hits = np.random.default_rng(3), 0
    for _ in range(40):
        before, after = draw.normal(100, 5, 12), draw.normal(110, 5, 12)
        low, high = compare(document(runs(*before)), document(runs(*after)))[0].ratio.interval
        hits += low <= 1.1 <= high
    assert hits >= 33  # of 40 at 95 %; fewer has a probability below one in a hundred


def test_different_benches_and_documents_without_a_common_figure_are_refused():
    with pytest.raises(ConfigError, match="of bench a-test, the second of other"):
        compare(document(runs(1.0)), document(runs(1.0), "other"))
    with pytest.raises(ConfigError, match="no figure in common"):
        compare(document(runs(1.0)), document(runs(1.0, side="off")))


def test_the_command_exits_with_one_on_a_regression(tmp_path, capsys):
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    before.write_text(to_line(document(runs(100.0, 101.0, 99.0))))
    after.write_text(to_line(document(runs(80.0, 81.0, 79.0))))
    assert main(["bench", "compare", str(before), str(before)]) == 0
    capsys.readouterr()
    assert main(["bench", "compare", str(before), str(after)]) == 1
    output = capsys.readouterr()
    assert "WORSE" in output.out
    found = json.loads(output.out.splitlines()[-1])
    assert found["verification"]["nothing_got_worse"] is False
    assert main(["bench", "compare", str(before), str(after), "--threshold", "30"]) == 0
    assert main(["bench", "compare", str(before), str(after), "--threshold", "-1"]) == 2


def test_the_evidence_names_both_files(tmp_path):
    first, second = document(runs(1.0)), document(runs(2.0))
    paths = (tmp_path / "a", tmp_path / "b")
    found = comparison_evidence(paths, (first, second), compare(first, second), 0.05)
    assert found["parameters"]["before"]["file"] == str(paths[0])
    assert found["parameters"]["bench"] == "a-test"
    assert "interval_95" not in found["results"]["changes"][0]["ratio"]  # one run each tells nothing
