"""The figures of a run, against numbers worked out by hand."""

import pytest

from gradus.bench.clients.answered import Answered
from gradus.bench.clients.server_counters import ServerCounters
from gradus.bench.serve.run import ServedRun, distribution, samples
from gradus.bench.workloads.base import WorkloadRequest


def answer(start, arrivals, end, prompt=4, output=3, error=None):
    return Answered(
        start, end, list(arrivals), num_prompt_tokens=prompt, num_output_tokens=output, error=error
    )


def counters(prompt, generation):
    return ServerCounters(prompt, 0, generation, 0, 0, 0, 0, 0)


ANSWERS = [
    answer(1.0, [1.5, 2.0, 3.5], 4.0),
    answer(2.0, [2.25, 3.0, 3.25], 5.0),
    Answered(2.0, 11.0, error="status 429"),
]
REQUESTS = [WorkloadRequest([0] * 4, 3, arrival=at) for at in (0.5, 2.0, 2.0)]


def run(answers=ANSWERS, before=None, after=None):
    return ServedRun(REQUESTS[: len(answers)], answers, 2.5, before, after)


def test_throughputs_are_of_what_was_answered_over_all_of_the_time():
    figures = run().figures({})
    assert figures["duration_seconds"] == 10.0
    assert (figures["num_successful_requests"], figures["num_failed_requests"]) == (2, 1)
    assert figures["requests_per_second"] == 0.2
    assert figures["output_tokens_per_second"] == 0.6
    assert figures["total_tokens_per_second"] == 1.4
    assert figures["client_cpu_share"] == 0.25
    assert figures["largest_send_delay_seconds"] == 0.5
    assert figures["ttft_seconds"] == (0.5 + 0.25) / 2
    assert figures["tpot_seconds"] == ((4.0 - 1.5) / 2 + (5.0 - 2.25) / 2) / 2


def test_a_closed_loop_has_no_send_delay():
    found = ServedRun([WorkloadRequest([0], 3)], ANSWERS[:1], 0.0, None, None).figures({})
    assert "largest_send_delay_seconds" not in found


@pytest.mark.parametrize(
    ("goodput", "good"),
    [
        ({"ttft": 0.3}, 1),
        ({"ttft": 0.5}, 2),
        ({"ttft": 0.5, "tpot": 1.25}, 1),
        ({"e2el": 2.9}, 0),
        ({"ttft": 0.3, "e2el": 3.0, "tpot": 1.375}, 1),
    ],
)
def test_goodput_counts_the_requests_that_keep_every_objective(goodput, good):
    assert run().figures(goodput)["good_requests_per_second"] == good / 10.0


def test_latencies_are_of_the_answered_requests():
    found = samples([run()])
    assert found["ttft_seconds"] == [0.5, 0.25]
    assert found["itl_seconds"] == [0.5, 1.5, 0.75, 0.25]
    assert found["e2e_seconds"] == [3.0, 3.0]


def test_nothing_answered_has_no_figures():
    assert run(ANSWERS[2:]).figures({"ttft": 1.0}) == {}
    assert samples([run(ANSWERS[2:])]) == {}


def test_requests_of_one_token_have_no_tpot():
    found = samples([run([answer(0.0, [1.0], 1.0, output=1)])])
    assert "tpot_seconds" not in found
    assert "itl_seconds" not in found


def test_a_distribution_has_the_percentiles_asked_for():
    found = distribution([float(i) for i in range(101)], (50, 99, 99.9))
    assert found == {"mean": 50.0, "median": 50.0, "stdev": pytest.approx(29.155, 1e-4)} | {
        "p50": 50.0,
        "p99": 99.0,
        "p99.9": pytest.approx(99.9),
    }
    assert set(distribution([1.0], ())) == {"mean", "median", "stdev"}


@pytest.mark.parametrize(
    ("prompt", "generation", "agrees"), [(8, 6, True), (8, 5, False), (9, 6, False), (0, 0, False)]
)
def test_the_servers_count_must_be_ours(prompt, generation, agrees):
    found = run(ANSWERS[:2], counters(100, 50), counters(100 + prompt, 50 + generation))
    assert found.agrees_with_the_server() is agrees


def test_counts_are_not_compared_where_one_of_them_is_not_known():
    assert run(ANSWERS[:2]).agrees_with_the_server() is None
    assert run(ANSWERS, counters(0, 0), counters(8, 6)).agrees_with_the_server() is None
