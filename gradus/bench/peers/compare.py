"""`gradus bench peers`: every row of the comparison, its sides measured in turns.

The first round of each side is left out. What cannot be measured is absent, and said to be.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from gradus.bench.evidence import evidence
from gradus.bench.peers.candidates import Options, candidates, open_fastest
from gradus.bench.peers.endpoint import Endpoint
from gradus.bench.peers.rows import Row, Side
from gradus.bench.peers.sides import Environment
from gradus.bench.ratios import advantage
from gradus.bench.rounds import in_turn
from gradus.bench.statistics import repeats, spread
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.errors import GradusError

METHOD = (
    "Each side is a process of its own with the same number of threads, f16 keys and values (of vLLM and "
    "transformers those of their arithmetic), and no prefix cache; prompts are random token ids, others in "
    "every request and round; greedy, past the end of the sequence. Speed: a peer's settings are changed one "
    "after another from its defaults, and each change that makes it faster is kept; then the sides take "
    "turns, round by round, with the processes kept; a first run of each is left out. Startup: from the "
    "start of the process to the first token of an 8-token prompt, files in the page cache. Memory: the "
    "kernel's high-water mark of resident pages, mapped files included, of a process that ran the workload "
    "once. These two are with a peer's defaults. A ratio above 1 says that Gradus is better; its interval is "
    "a bootstrap over rounds."
)

TRIAL_OUTPUT = 16  # tokens of each request of a trial run

Report = Callable[[str], None]


@dataclass(slots=True)
class RowResult:
    """A row's figures per side and round, the options of each side, and why sides are missing."""

    row: Row
    figures: dict[Side, list[float]] = field(default_factory=dict)
    options: dict[Side, Options] = field(default_factory=dict)
    software: dict[str, dict[str, Any]] = field(default_factory=dict)  # by engine
    absent: dict[Side, str] = field(default_factory=dict)

    def note(self, side: Side, endpoint: Endpoint, options: Options) -> None:
        """How a side was measured."""
        self.options[side] = options
        self.software.setdefault(side.engine, {}).update(endpoint.software)

    def as_dict(self) -> dict[str, Any]:
        """Results; a side that was not measured is absent."""
        row, ours = self.row, self.figures.get(self.row.ours)
        found: dict[str, Any] = {
            "figure": row.figure,
            "goal": row.goal,
            "sides": {side.label: spread(values) for side, values in self.figures.items()},
        }
        if ours:
            found["ratios"] = {
                side.label: advantage(ours, values, lower_is_better=row.lower_is_better).as_dict()
                for side, values in self.figures.items()
                if side != row.ours
            }
        return found


def bench_peers(
    environment: Environment,
    vocab_size: int,
    rows: Sequence[Row],
    num_rounds: int,
    report: Report,
    on_row: Callable[[RowResult, dict[str, Any]], None],
) -> None:
    """Measure rows; `report` gets the figures of each round.

    `on_row` gets each row's result, and the evidence of all rows so far: what comes after an interruption is
    lost, what came before is not.
    """
    results: list[RowResult] = []
    for row in rows:
        result = RowResult(row)
        for side in row.sides:
            reason = environment.why_absent(side)
            if reason is not None:
                result.absent[side] = reason
        measure = _measure_speed if row.measure == "speed" else _measure_processes
        measure(environment, vocab_size, row.num_rounds(num_rounds), result, report)
        results.append(result)
        on_row(result, _evidence(environment, num_rounds, results))


def _measure_speed(
    environment: Environment, vocab_size: int, num_rounds: int, result: RowResult, report: Report
) -> None:
    row = result.row
    with ExitStack() as stack:
        endpoints: dict[Side, Endpoint] = {}
        for side in _present(result):
            try:
                endpoint, options = _open_fastest(environment, side, row, vocab_size)
                stack.callback(endpoint.close)
                _warm_up(endpoint, row.workload, vocab_size)
            except GradusError as error:
                result.absent[side] = str(error)
                continue
            endpoints[side], result.figures[side] = endpoint, []
            result.note(side, endpoint, options)
        for round_index in range(1, num_rounds + 1):
            prompts = row.workload.prompts(vocab_size, round_index)
            for side in in_turn(list(endpoints), round_index):
                figures = _run(endpoints[side], row.workload, prompts)
                result.figures[side].append(figures[row.figure])
            report(_round_line(result))


def _open_fastest(
    environment: Environment, side: Side, row: Row, vocab_size: int
) -> tuple[Endpoint, Options]:
    """A side with the settings that have the best figure, over a short wave of requests."""
    wave = _short(row.workload)
    prompts = wave.prompts(vocab_size, 0)

    def score(endpoint: Endpoint) -> float:
        _run(endpoint, wave, prompts)
        figure = _run(endpoint, wave, prompts)[row.figure]
        return -figure if row.lower_is_better else figure

    tried = candidates(side.engine, _num_sequences(row.workload))
    return open_fastest(tried, lambda options: _open(environment, side, row.workload, options), score)


def _warm_up(endpoint: Endpoint, workload: FixedWorkload, vocab_size: int) -> None:
    wave = _short(workload)
    _run(endpoint, wave, wave.prompts(vocab_size, 0))


def _short(workload: FixedWorkload) -> FixedWorkload:
    return workload.changed(
        num_requests=_num_sequences(workload), output_len=min(workload.output_len, TRIAL_OUTPUT)
    )


def _measure_processes(
    environment: Environment, vocab_size: int, num_rounds: int, result: RowResult, report: Report
) -> None:
    """A fresh process for each figure; the first of each side is left out where time is the figure."""
    row = result.row
    for round_index in range(0 if row.measure == "startup" else 1, num_rounds + 1):
        prompts = row.workload.prompts(vocab_size, round_index)
        for side in in_turn(_present(result), round_index):
            try:
                value = _measure_process(environment, side, result, prompts)
            except GradusError as error:
                result.absent[side] = str(error)
                result.figures.pop(side, None)
                continue
            if round_index:
                result.figures.setdefault(side, []).append(value)
        if round_index:
            report(_round_line(result))


def _measure_process(
    environment: Environment, side: Side, result: RowResult, prompts: list[list[int]]
) -> float:
    row = result.row
    options = candidates(side.engine, _num_sequences(row.workload)).defaults
    endpoint = _open(environment, side, row.workload, options)
    try:
        result.note(side, endpoint, options)
        asked = perf_counter()
        run = endpoint.run(prompts, row.workload.output_len, row.workload.concurrency)
        if row.measure == "startup":
            return asked - endpoint.started + run.requests[0].first_token
        peak = endpoint.peak_memory()
        if peak is None:
            raise GradusError("the system does not say how much memory a process had")
        return float(peak)
    finally:
        endpoint.close()


def _open(environment: Environment, side: Side, workload: FixedWorkload, options: Options) -> Endpoint:
    return environment.open(side, _num_sequences(workload), workload.context, options)


def _num_sequences(workload: FixedWorkload) -> int:
    return min(workload.concurrency, workload.num_requests)


def _run(endpoint: Endpoint, workload: FixedWorkload, prompts: list[list[int]]) -> dict[str, float]:
    return endpoint.run(prompts, workload.output_len, workload.concurrency).figures()


def _present(result: RowResult) -> list[Side]:
    return [side for side in result.row.sides if side not in result.absent]


def _round_line(result: RowResult) -> str:
    figures = (f"{side.label} {values[-1]:,.4g}" for side, values in result.figures.items())
    return f"{result.row.name}: {', '.join(figures)}"


def _evidence(environment: Environment, num_rounds: int, results: Sequence[RowResult]) -> dict[str, Any]:
    software = {engine: found for result in results for engine, found in result.software.items() if found}
    absent = {
        f"{result.row.name}: {side.label}": reason
        for result in results
        for side, reason in result.absent.items()
    }
    return evidence(
        "peers",
        software={"peers": software},
        model={"name": environment.model, "weights": str(environment.weights)},
        parameters={"num_threads": environment.num_threads, "num_rounds": num_rounds},
        method=METHOD,
        results={result.row.name: result.as_dict() for result in results},
        runs=[
            {
                "row": result.row.name,
                "side": side.label,
                "options": dict(result.options.get(side, {})),
                result.row.figure: values,
            }
            for result in results
            for side, values in result.figures.items()
        ],
        verification={
            "every_side_was_measured": not absent,
            "absent": absent or None,
            "repeats": repeats(
                {
                    f"{result.row.name}: {side.label}": values
                    for result in results
                    for side, values in result.figures.items()
                }
            ),
        },
    )
