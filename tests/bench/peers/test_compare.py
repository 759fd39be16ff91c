"""The comparison, with engines whose speed the test sets: order, ratios, choice of settings, absences, and
what a time limit leaves of it by a clock that goes while they run.
"""

import json
import math
from dataclasses import replace

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.peers.compare import bench_peers
from gradus.bench.peers.endpoint import PeerError
from gradus.bench.peers.rows import LLAMA, OPENVINO, Row, Side
from gradus.bench.peers.sides import Environment
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workloads.fixed import FixedWorkload
from tests.bench.peers.clock import FakeClock

OURS, PEER, OTHER = Side("gradus", "4-bit"), Side(LLAMA, "q4_0.gguf"), Side(OPENVINO, "openvino-int8")
WORKLOAD = FixedWorkload(name="small", num_requests=4, concurrency=2, input_len=3, output_len=10)
ROW = Row(
    name="row", workload=WORKLOAD, figure="output_tokens_per_second", ours=OURS, peers=(PEER, OTHER), goal=2.0
)
SECONDS = {OURS: 1.0, PEER: 3.0, OTHER: 2.0}
ROUND_SECONDS = sum(SECONDS.values())  # with the best settings
ENOUGH = 300.0  # for all trials


class Diary(list):
    """What happened, and when it is."""

    def __init__(self):
        self.clock = FakeClock()


class FakeEndpoint:
    """Takes as many seconds as `SECONDS` says, half more with flash attention; keeps a diary."""

    def __init__(self, side, options, diary):
        self.side, self.options, self.diary = side, options, diary
        self.started = 0.0
        self.software = {"name": side.engine}
        diary.append(("open", side, options))

    def run(self, prompts, output_len, concurrency):
        self.diary.append(("run", self.side, len(prompts), self.options, prompts[0]))
        end = SECONDS[self.side] * (1.5 if self.options.get("flash_attention") else 1.0)
        end *= 1.25 if self.options.get("kv_unified") else 1.0
        self.diary.clock.now += end
        return Run(tuple(RequestTiming(0.0, end / 4, end, len(p), output_len) for p in prompts))

    def peak_memory(self):
        return int(SECONDS[self.side] * 1e9)

    def close(self):
        self.diary.append(("close", self.side))


class FakeEnvironment(Environment):
    diary: list

    def why_absent(self, side):
        return "not installed" if side.engine not in self.interpreters and side != OURS else None

    def open(self, side, num_sequences, context, options):
        if self.interpreters.get(side.engine) == "broken":
            raise PeerError("it does not start")
        return FakeEndpoint(side, options, self.model)


def compare(row, num_rounds=3, limit=math.inf, **interpreters):
    environment = fake_environment(**interpreters)
    ((result, document, _),) = notes(environment, [row], num_rounds, limit)
    return result, document, environment.model


def fake_environment(**interpreters):
    interpreters = interpreters or {LLAMA: "py", OPENVINO: "py"}
    return FakeEnvironment(model=Diary(), weights=".", interpreters=interpreters)


def notes(environment, rows, num_rounds, limit=math.inf):
    """What was handed out after each row, and when."""
    found, lines, clock = [], [], environment.model.clock

    def note(result, document):
        found.append((result, json.loads(to_line({**document, "model": {}})), clock.now))

    bench_peers(environment, 100, rows, num_rounds, lines.append, note, time_limit=limit, clock=clock)
    assert len(lines) == sum(result.num_rounds for result, *_ in found)
    return found


def measured_rounds(diary):
    """(side, first prompt) of the runs with all requests."""
    return [(entry[1], entry[4]) for entry in diary if entry[0] == "run" and entry[2] == 4]


def test_sides_take_turns_with_the_same_prompts_and_other_ones_in_every_round():
    rounds = measured_rounds(compare(ROW)[2])
    there, back = [OURS, PEER, OTHER], [OTHER, PEER, OURS]
    assert [side for side, _ in rounds] == there + back + there
    prompts = [prompt for _, prompt in rounds]
    assert all(prompts[3 * i] == prompts[3 * i + 1] == prompts[3 * i + 2] for i in range(3))
    assert len({tuple(prompt) for prompt in prompts}) == 3


def test_all_are_loaded_before_the_first_round_and_closed_after_the_last():
    diary = compare(ROW)[2]
    kinds = [entry[0] for entry in diary]
    first_round = next(i for i, entry in enumerate(diary) if entry[0] == "run" and entry[2] == 4)
    assert kinds[:first_round].count("open") - kinds[:first_round].count("close") == 3
    assert kinds[first_round:] == ["run"] * 9 + ["close"] * 3


def test_ratios_are_of_the_figures():
    result, document, _ = compare(ROW)
    assert document["results"]["row"]["ratios"] == {
        PEER.label: {"median": pytest.approx(3.0), "interval_95": [pytest.approx(3.0)] * 2},
        OTHER.label: {"median": pytest.approx(2.0), "interval_95": [pytest.approx(2.0)] * 2},
    }
    assert result.figures[OURS] == pytest.approx([40.0] * 3)
    assert {run["side"]: run["output_tokens_per_second"] for run in document["runs"]} == {
        side.label: pytest.approx([40 / SECONDS[side]] * 3) for side in (OURS, PEER, OTHER)
    }
    assert document["verification"] == {
        "every_side_was_measured": True,
        "repeats": {"tolerance": 0.05, "within": True},
    }


def test_a_peer_runs_with_the_setting_that_is_fastest_for_it():
    result, document, diary = compare(ROW)
    best = {"flash_attention": False, "kv_unified": False, "n_ubatch": 512}
    assert result.options[PEER] == best
    measured = [entry[3] for entry in diary if entry[0] == "run" and entry[1] == PEER and entry[2] == 4]
    assert measured == [best] * 3
    tried = [entry[3] for entry in diary if entry[0] == "run" and entry[1] == PEER and entry[2] == 2]
    for name, values in (("flash_attention", {True, False}), ("kv_unified", {True, False})):
        assert {options[name] for options in tried} == values
    assert next(run for run in document["runs"] if run["side"] == PEER.label)["options"] == best


def test_times_are_better_when_shorter():
    row = replace(ROW, figure="ttft_seconds")
    assert compare(row)[1]["results"]["row"]["ratios"][PEER.label]["median"] == pytest.approx(3.0)


@pytest.mark.parametrize("interpreters", [{LLAMA: "py"}, {LLAMA: "py", OPENVINO: "broken"}])
def test_a_peer_that_is_not_there_is_absent_and_said_to_be(interpreters):
    document = compare(ROW, **interpreters)[1]
    found = document["results"]["row"]
    assert set(found["sides"]) == {OURS.label, PEER.label}
    assert set(found["ratios"]) == {PEER.label}
    assert document["verification"]["every_side_was_measured"] is False
    assert set(document["verification"]["absent"]) == {f"row: {OTHER.label}"}


def test_memory_and_startup_are_of_fresh_processes():
    _, document, diary = compare(replace(ROW, figure="peak_memory_bytes", measure="memory"))
    assert document["results"]["row"]["ratios"][PEER.label]["median"] == 3.0
    assert [entry[0] for entry in diary] == ["open", "run", "close"] * 3
    _, document, diary = compare(replace(ROW, figure="startup_seconds", measure="startup"), num_rounds=2)
    assert [entry[0] for entry in diary] == ["open", "run", "close"] * 9  # a warm-up and two rounds
    assert len(document["runs"][0]["startup_seconds"]) == 2
    assert {entry[2]["flash_attention"] for entry in diary if entry[:2] == ("open", PEER)} == {True}
    assert document["software"]["peers"] == {side.engine: {"name": side.engine} for side in SECONDS}


def test_one_round_has_no_interval():
    document = compare(ROW, num_rounds=1)[1]
    assert document["results"]["row"]["ratios"][PEER.label] == {"median": pytest.approx(3.0)}


def test_what_was_measured_is_handed_out_after_every_row():
    found = notes(fake_environment(), [ROW, replace(ROW, name="second")], 1)
    assert [set(document["results"]) for _, document, _ in found] == [{"row"}, {"row", "second"}]


def test_without_a_limit_all_rounds_are_measured_and_all_settings_tried():
    result, document, _ = compare(ROW, num_rounds=50)
    assert {len(values) for values in result.figures.values()} == {50}
    assert document["parameters"] == {"num_threads": 2, "num_rounds": 50}
    assert all("untried" not in run for run in document["runs"])


def test_no_round_begins_that_would_not_end_in_time_and_all_sides_have_the_same():
    result, document, diary = compare(ROW, num_rounds=99, limit=ENOUGH)
    assert diary.clock.now <= ENOUGH < diary.clock.now + ROUND_SECONDS
    assert {len(run["output_tokens_per_second"]) for run in document["runs"]} == {result.num_rounds}
    assert 1 < result.num_rounds < 99
    assert document["parameters"]["time_limit_seconds"] == ENOUGH
    assert document["parameters"]["num_rounds"] == 99


def test_one_round_is_measured_however_little_time_there_is():
    result, document, _ = compare(ROW, limit=0.001)
    assert [len(values) for values in result.figures.values()] == [1, 1, 1]
    assert document["verification"]["every_side_was_measured"] is True
    assert set(document["results"]["row"]["ratios"][PEER.label]) == {"median"}


@pytest.mark.parametrize(
    ("limit", "num_tried"),
    [
        (0.001, 1),
        (
            105.0,
            1,
        ),  # 17 s: half of what our warm-up leaves of a third; a trial takes 9, a second one fits not
        (111.0, 2),  # 18 s; it takes 11.25
        (150.0, 2),  # 24.5 s
        (240.0, 3),  # 39.5 s; three took 29.25, and another might take 11.25
        (246.0, 4),  # 40.5 s
    ],
)
def test_settings_are_tried_for_a_sides_share_of_a_third_of_the_time(limit, num_tried):
    changes = [{"kv_unified": True}, {"n_ubatch": 256}, {"flash_attention": False}]
    runs = {run["side"]: run for run in compare(ROW, num_rounds=1, limit=limit)[1]["runs"]}
    assert runs[PEER.label].get("untried", []) == changes[num_tried - 1 :]
    assert runs[PEER.label]["options"]["flash_attention"] is (num_tried < 4)
    assert "untried" not in runs[OURS.label]


def test_every_row_has_its_share_and_what_those_before_left():
    quick = replace(ROW, name="quick", figure="peak_memory_bytes", measure="memory")
    rows = [quick, *(replace(ROW, name=name) for name in ("first", "second"))]
    (_, _, ended), (_, _, first), (_, _, second) = notes(fake_environment(), rows, 999, 3 * ENOUGH)
    halfway = (ended + 3 * ENOUGH) / 2
    assert first <= halfway < first + ROUND_SECONDS
    assert second <= 3 * ENOUGH < second + ROUND_SECONDS


def test_a_row_whose_time_never_came_is_absent_with_what_would_help():
    environment = fake_environment(**{LLAMA: "py"})
    rows = [replace(ROW, name=name) for name in ("row", "second", "third")]
    *_, (result, document, _) = notes(environment, rows, 5, 6.0)
    assert set(document["results"]) == {"row"}
    assert {run["row"] for run in document["runs"]} == {"row"}
    absent = document["verification"]["absent"]
    for row in rows[1:]:
        for side in (OURS, PEER):
            assert absent[f"{row.name}: {side.label}"] == (
                "the time limit of 0.1 minutes was over; name the row alone with --rows, or raise "
                "--time-limit"
            )
        assert absent[f"{row.name}: {OTHER.label}"] == "not installed"
    assert document["verification"]["every_side_was_measured"] is False
    assert result.figures == {}


def test_starts_obey_the_limit_and_keep_their_warm_up():
    row = replace(ROW, figure="startup_seconds", measure="startup")
    _, document, diary = compare(row, num_rounds=99, limit=50.0)
    rounds_and_warm_up = int(50 // (SECONDS[OURS] + 1.5 * SECONDS[PEER] + SECONDS[OTHER]))
    assert [len(run["startup_seconds"]) for run in document["runs"]] == [rounds_and_warm_up - 1] * 3
    _, document, diary = compare(row, limit=0.001)
    assert [len(run["startup_seconds"]) for run in document["runs"]] == [1] * 3
    assert [entry[0] for entry in diary] == ["open", "run", "close"] * 6
