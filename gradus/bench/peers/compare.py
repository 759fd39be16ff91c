"""`gradus bench peers`: every row of the comparison, its sides measured in turns, before a time limit.

The first round of each side is left out. What cannot be measured is absent, and said to be.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from gradus.bench.evidence import evidence
from gradus.bench.peers.candidates import TRIAL_OUTPUT, Fastest, Options, candidates, open_fastest
from gradus.bench.peers.deadline import Clock, Deadline, Pace
from gradus.bench.peers.endpoint import Endpoint
from gradus.bench.peers.row_result import RowResult
from gradus.bench.peers.rows import Row, Side
from gradus.bench.peers.sides import Environment
from gradus.bench.rounds import in_turn
from gradus.bench.statistics import repeats
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
    "a bootstrap over rounds. Where there is a time limit, each row has its share of what is left of it: no "
    "round after the first begins that would not fit by the longest so far, so that a row may have fewer "
    "rounds than asked for, the same number on every side. Changes of settings are tried in the first third "
    "of a row's time; `untried` are those that no time was left for."
)

TRIALS_SHARE = 1 / 3  # of a row's time, for all of its sides

Report = Callable[[str], None]


def bench_peers(
    environment: Environment,
    vocab_size: int,
    rows: Sequence[Row],
    num_rounds: int,
    report: Report,
    on_row: Callable[[RowResult, dict[str, Any]], None],
    *,
    time_limit: float = math.inf,
    clock: Clock = time.monotonic,
) -> None:
    """Measure rows; `report` gets the figures of each round.

    `on_row` gets each row's result, and the evidence of all rows so far: what comes after an interruption is
    lost, what came before is not.

    time_limit: seconds. A row that began in time has one round at least, however long that takes.
    """
    parameters = {
        "num_threads": environment.num_threads,
        "num_rounds": num_rounds,
        "time_limit_seconds": time_limit if math.isfinite(time_limit) else None,
    }
    deadline = Deadline.after(time_limit, clock)
    results: list[RowResult] = []
    for index, row in enumerate(rows):
        too_late = None if deadline.seconds_left else _too_late(time_limit)
        reasons = {side: environment.why_absent(side) or too_late for side in row.sides}
        result = RowResult(row, absent={side: reason for side, reason in reasons.items() if reason})
        if result.present:
            measure = _measure_speed if row.measure == "speed" else _measure_processes
            row_deadline = deadline.share(1 / (len(rows) - index))
            measure(environment, vocab_size, row.num_rounds(num_rounds), row_deadline, result, report)
        results.append(result)
        on_row(result, _evidence(environment, parameters, results))


def _too_late(time_limit: float) -> str:
    return (
        f"the time limit of {time_limit / 60:g} minutes was over; name the row alone with --rows, or raise "
        "--time-limit"
    )


def _rounds(deadline: Deadline, first: int, last: int) -> Iterator[int]:
    """Round by round; after number 1 none begins that would not fit by the longest so far."""
    pace = Pace(deadline)
    for round_index in range(first, last + 1):
        if round_index > 1 and not pace.fits_another:
            return
        with pace.lap():
            yield round_index


def _measure_speed(
    environment: Environment,
    vocab_size: int,
    num_rounds: int,
    deadline: Deadline,
    result: RowResult,
    report: Report,
) -> None:
    row = result.row
    with ExitStack() as stack:
        endpoints = _open_all(environment, vocab_size, deadline.share(TRIALS_SHARE), result, stack)
        for round_index in _rounds(deadline, 1, num_rounds):
            prompts = row.workload.prompts(vocab_size, round_index)
            for side in in_turn(list(endpoints), round_index):
                figures = _run(endpoints[side], row.workload, prompts)
                result.figures.setdefault(side, []).append(figures[row.figure])
            report(result.last_round)


def _open_all(
    environment: Environment, vocab_size: int, deadline: Deadline, result: RowResult, stack: ExitStack
) -> dict[Side, Endpoint]:
    """The sides that work, each with its best settings and warmed up; `deadline` is that of all trials."""
    endpoints: dict[Side, Endpoint] = {}
    sides = result.present
    for index, side in enumerate(sides):
        trials = deadline.share(1 / (len(sides) - index))
        try:
            found = _open_fastest(environment, side, result.row, vocab_size, trials)
            stack.callback(found.endpoint.close)
            _warm_up(found.endpoint, result.row.workload, vocab_size)
        except GradusError as error:
            result.absent[side] = str(error)
            continue
        endpoints[side] = found.endpoint
        result.note(side, found.endpoint, found.options, found.untried)
    return endpoints


def _open_fastest(
    environment: Environment, side: Side, row: Row, vocab_size: int, deadline: Deadline
) -> Fastest:
    """A side with the settings that have the best figure, over a short wave of requests."""
    wave = _short(row.workload)
    prompts = wave.prompts(vocab_size, 0)

    def score(endpoint: Endpoint) -> float:
        _run(endpoint, wave, prompts)
        figure = _run(endpoint, wave, prompts)[row.figure]
        return -figure if row.lower_is_better else figure

    tried = candidates(side.engine, _num_sequences(row.workload))
    return open_fastest(
        tried, lambda options: _open(environment, side, row.workload, options), score, deadline
    )


def _warm_up(endpoint: Endpoint, workload: FixedWorkload, vocab_size: int) -> None:
    wave = _short(workload)
    _run(endpoint, wave, wave.prompts(vocab_size, 0))


def _short(workload: FixedWorkload) -> FixedWorkload:
    return workload.changed(
        num_requests=_num_sequences(workload), output_len=min(workload.output_len, TRIAL_OUTPUT)
    )


def _measure_processes(
    environment: Environment,
    vocab_size: int,
    num_rounds: int,
    deadline: Deadline,
    result: RowResult,
    report: Report,
) -> None:
    """A fresh process for each figure; the first of each side is left out where time is the figure."""
    row = result.row
    for round_index in _rounds(deadline, 0 if row.measure == "startup" else 1, num_rounds):
        prompts = row.workload.prompts(vocab_size, round_index)
        for side in in_turn(result.present, round_index):
            try:
                value = _measure_process(environment, side, result, prompts)
            except GradusError as error:
                result.absent[side] = str(error)
                result.figures.pop(side, None)
                continue
            if round_index:
                result.figures.setdefault(side, []).append(value)
        if round_index:
            report(result.last_round)


def _measure_process(
    environment: Environment, side: Side, result: RowResult, prompts: list[list[int]]
) -> float:
    row = result.row
    options = candidates(side.engine, _num_sequences(row.workload)).defaults
    endpoint = _open(environment, side, row.workload, options)
    try:
        result.note(side, endpoint, options)
        asked = time.perf_counter()
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


def _evidence(
    environment: Environment, parameters: Mapping[str, Any], results: Sequence[RowResult]
) -> dict[str, Any]:
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
        parameters=parameters,
        method=METHOD,
        results={result.row.name: result.as_dict() for result in results if result.figures},
        runs=[
            {
                "row": result.row.name,
                "side": side.label,
                "options": dict(result.options.get(side, {})),
                "untried": [dict(change) for change in result.untried.get(side, ())] or None,
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
