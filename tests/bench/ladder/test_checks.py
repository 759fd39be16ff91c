"""What a ladder verifies fails when a rung does other work: every mutant is found, and its rung named."""

from dataclasses import replace

import numpy as np
import pytest

from gradus.bench.ladder.base import RungRun
from gradus.bench.ladder.checks import RungRuns, verification
from gradus.bench.ladder.recording import RecordedStep, Recording
from gradus.bench.ladder.requests import Output
from gradus.bench.ladder.rungs import RUNGS

STEPS = [Output(2, [5, 7]), Output(2, [6, 8])]
IDS, TEXTS = [[5, 6], [7, 8]], ["ab", "cd"]
RECORDING = Recording(
    [RecordedStep(None, np.array([[5], [7]], np.int32)), RecordedStep(None, np.array([[6], [8]], np.int32))],
    [Output(2, ids) for ids in IDS],
)


def run_of(number):
    if number < 2:
        return RungRun(1.0, 1.0, 2, 4, STEPS)
    outputs = [
        Output(2, ids if number < 7 else None, text if number > 5 else None)
        for ids, text in zip(IDS, TEXTS, strict=True)
    ]
    return RungRun(1.0, 1.0, 2, 4, outputs)


def verified(number=None, **changes):
    """With changes to the last run of one rung."""
    runs = {}
    for entry in RUNGS:
        kept = runs[entry] = RungRuns()
        for index in range(2):
            run = run_of(entry.number)
            kept.runs.append(replace(run, **changes) if (entry.number, index) == (number, 1) else run)
            kept.num_asked.append([2, 2])
    return verification(runs, RECORDING)


def test_equal_work_is_verified():
    facts = verified()
    assert facts.pop("broken_by") is None
    assert len(facts) == 5
    assert set(facts.values()) == {True}


@pytest.mark.parametrize("number", [0, 1])
def test_a_replayed_step_with_another_token(number):
    facts = verified(number, outputs=[STEPS[0], Output(2, [6, 9])])
    assert facts["replayed_steps_chose_the_recorded_tokens"] is False
    assert facts["broken_by"] == {"replayed_steps_chose_the_recorded_tokens": [RUNGS[number].label]}


@pytest.mark.parametrize("number", range(2, 10))
def test_a_rung_with_another_token_or_text(number):
    outputs = run_of(number).outputs
    wrong = Output(2, [7, 9] if number < 7 else None, "ce" if number > 5 else None)
    facts = verified(number, outputs=[outputs[0], wrong])
    assert facts["rungs_from_2_on_gave_the_same_tokens"] is False
    assert RUNGS[number].label in facts["broken_by"]["rungs_from_2_on_gave_the_same_tokens"]
    assert facts["every_request_gave_all_tokens"] is True


def test_a_rung_that_leaves_out_a_token():
    facts = verified(8, outputs=[Output(2, text="ab"), Output(1, text="c")], num_counted_tokens=3)
    assert facts["every_request_gave_all_tokens"] is False
    assert facts["broken_by"]["every_request_gave_all_tokens"] == ["8 HTTP SSE"]


def test_a_server_that_counts_otherwise():
    facts = verified(4, num_counted_tokens=5)
    assert facts["broken_by"] == {"the_engine_counted_the_same_tokens": ["4 scheduler"]}


def test_a_recording_of_other_tokens():
    runs = {RUNGS[2]: RungRuns([run_of(2)], [[2, 2]])}
    other = Recording(RECORDING.steps, [Output(2, [5, 6]), Output(2, [7, 1])])
    assert verification(runs, other)["the_recording_has_the_same_tokens"] is False
