"""What a ladder verifies: that its rungs did the same work, and that their books agree.

Token ids and texts are compared where two rungs have them; rung 6 has both, and so ties the network's rungs,
which have texts, to those below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradus.bench.ladder.base import RungRun
from gradus.bench.ladder.recording import Recording, step_output
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.bench.ladder.rungs import RungEntry


@dataclass(slots=True)
class RungRuns:
    """A rung's runs by round, the warm-up first, and how many tokens were asked for."""

    runs: list[RungRun] = field(default_factory=list)
    num_asked: list[list[int]] = field(default_factory=list)  # per run and request

    def add(self, run: RungRun, requests: Sequence[LadderRequest]) -> None:
        self.runs.append(run)
        self.num_asked.append([request.output_len for request in requests])

    @property
    def last(self) -> RungRun:
        return self.runs[-1]

    @property
    def gave_all_tokens(self) -> bool:
        return all(
            [output.num_tokens for output in run.outputs] == asked
            for run, asked in zip(self.runs, self.num_asked, strict=True)
        )

    @property
    def counted_its_tokens(self) -> bool:
        return all(run.num_counted_tokens == run.num_tokens for run in self.runs)


def verification(runs: Mapping[RungEntry, RungRuns], recording: Recording) -> dict[str, Any]:
    """True and false facts, and the labels of the rungs that broke one."""
    steps = [step_output(step.token_ids) for step in recording.steps]
    replaying = {entry: found for entry, found in runs.items() if entry.is_replay}
    generating = {entry: found for entry, found in runs.items() if not entry.is_replay}
    broken = {
        "replayed_steps_chose_the_recorded_tokens": [
            entry for entry, found in replaying.items() if any(run.outputs != steps for run in found.runs)
        ],
        "the_recording_has_the_same_tokens": [
            entry
            for entry, found in generating.items()
            if not _agree(found.runs[0].outputs, recording.outputs)
        ],
        "rungs_from_2_on_gave_the_same_tokens": _differing(generating),
        "every_request_gave_all_tokens": [
            entry for entry, found in generating.items() if not found.gave_all_tokens
        ],
        "the_engine_counted_the_same_tokens": [
            entry for entry, found in runs.items() if not found.counted_its_tokens
        ],
    }
    facts: dict[str, Any] = {name: not entries for name, entries in broken.items()}
    named = {name: [entry.label for entry in entries] for name, entries in broken.items() if entries}
    return {**facts, "broken_by": named or None}


def _differing(runs: Mapping[RungEntry, RungRuns]) -> list[RungEntry]:
    """Rungs that disagree with another one in some round."""
    differing = []
    for entry, found in runs.items():
        for index, run in enumerate(found.runs):
            others = [other.runs[index].outputs for other in runs.values()]
            if not all(_agree(run.outputs, outputs) for outputs in others):
                differing.append(entry)
                break
    return differing


def _agree(mine: Sequence[Output], theirs: Sequence[Output]) -> bool:
    """Whether what both know of the same requests is the same."""
    return all(
        _is_same(a.token_ids, b.token_ids) and _is_same(a.text, b.text)
        for a, b in zip(mine, theirs, strict=False)
    )


def _is_same(mine: object, theirs: object) -> bool:
    return mine is None or theirs is None or mine == theirs
