"""Progress in a log: when a line is written, and what it says."""

import pytest

from gradus import progress
from gradus.progress import duration, progress_bar


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_line_is_written_only_so_often_and_counts_this_runs_speed(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    measured = []

    def measure():
        measured.append(now[0])
        return 60, 500  # 50 were done before

    with progress_bar("lines", 150, True, num_done=50, line_seconds=10) as report:
        for second in (101, 109, 110, 119, 121):
            now[0] = float(second)
            report(measure)
    assert measured == [110.0, 121.0]
    first, second = capsys.readouterr().err.splitlines()
    assert first == "60 of 150 lines, 50 tokens/s, 1 min 30 s left"
    assert second == "60 of 150 lines, 24 tokens/s, 3 min 9 s left"


def test_without_a_terminal_and_without_lines_nothing_is_written(capsys):
    with progress_bar("lines", 2, True) as report:
        report(lambda: (1, 1))
    with progress_bar("lines", 2, False, line_seconds=0) as report:
        report(lambda: (1, 1))
    assert capsys.readouterr().err == ""
