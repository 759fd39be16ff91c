"""The comparison, with engines whose speed the test sets: order, ratios, choice of settings, absences."""

import json
from dataclasses import replace

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.peers.compare import bench_peers
from gradus.bench.peers.endpoint import PeerError
from gradus.bench.peers.rows import LLAMA, OPENVINO, Row, Side
from gradus.bench.peers.sides import Environment
from gradus.bench.timings import RequestTiming, Run
from gradus.bench.workloads.fixed import FixedWorkload

OURS, PEER, OTHER = Side("gradus", "4-bit"), Side(LLAMA, "q4_0.gguf"), Side(OPENVINO, "openvino-int8")
WORKLOAD = FixedWorkload(name="small", num_requests=4, concurrency=2, input_len=3, output_len=10)
ROW = Row(
    name="row", workload=WORKLOAD, figure="output_tokens_per_second", ours=OURS, peers=(PEER, OTHER), goal=2.0
)
SECONDS = {OURS: 1.0, PEER: 3.0, OTHER: 2.0}


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


def compare(row, num_rounds=3, **interpreters):
    diary = []
    interpreters = interpreters or {LLAMA: "py", OPENVINO: "py"}
    environment = FakeEnvironment(model=diary, weights=".", interpreters=interpreters)
    ((result, document),) = notes(environment, [row], num_rounds)
    return result, document, diary


def notes(environment, rows, num_rounds):
    """What was handed out after each row."""
    found = []

    def note(result, document):
        found.append((result, json.loads(to_line({**document, "model": {}}))))

    lines = []
    bench_peers(environment, 100, rows, num_rounds, lines.append, note)
    assert len(lines) == sum(row.num_rounds(num_rounds) for row in rows)
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
    environment = FakeEnvironment(model=[], weights=".", interpreters={LLAMA: "py", OPENVINO: "py"})
    found = notes(environment, [ROW, replace(ROW, name="second")], 1)
    assert [set(document["results"]) for _, document in found] == [{"row"}, {"row", "second"}]
