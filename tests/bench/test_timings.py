"""Figures of a run, by hand."""

import numpy as np
import pytest

from gradus.bench.timings import RequestTiming, Run, latencies, percentiles, ttft_by_prompt

SLOW = RequestTiming(start=1.0, first_token=3.0, end=7.0, num_prompt_tokens=10, num_output_tokens=5)
FAST = RequestTiming(start=0.5, first_token=1.5, end=3.5, num_prompt_tokens=10, num_output_tokens=5)
ONE_TOKEN = RequestTiming(start=0.0, first_token=0.5, end=0.5, num_prompt_tokens=10, num_output_tokens=1)


def test_times_of_a_request():
    assert (SLOW.ttft, SLOW.e2e, SLOW.tpot) == (2.0, 6.0, 1.0)  # (6 - 2) / (5 - 1)
    assert ONE_TOKEN.tpot is None


def test_figures_of_a_run():
    figures = Run((SLOW, FAST)).figures()
    assert figures == pytest.approx(
        {
            "requests_per_second": 2 / 6.5,  # from 0.5 to 7
            "input_tokens_per_second": 20 / 6.5,
            "output_tokens_per_second": 10 / 6.5,
            "total_tokens_per_second": 30 / 6.5,
            "ttft_seconds": 1.5,
            "prompt_tokens_per_second": (10 / 2 + 10 / 1) / 2,
            "e2e_seconds": 4.5,
            "tpot_seconds": 0.75,
            "decode_tokens_per_second": 1 / 0.75,
        }
    )


def test_what_a_run_cannot_tell_is_absent():
    figures = Run((ONE_TOKEN,)).figures()
    assert "tpot_seconds" not in figures
    assert "decode_tokens_per_second" not in figures
    assert latencies([ONE_TOKEN])["tpot_seconds"] is None
    assert latencies([SLOW])["itl_seconds"] is None  # its tokens' times were not recorded


def test_percentiles_are_of_the_values_that_exist():
    values = list(range(101))
    assert percentiles([*values, None]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert percentiles([None]) is None
    assert percentiles([1.0, 2.0])["p90"] == pytest.approx(np.quantile([1.0, 2.0], 0.9))


def test_itl_is_of_all_gaps_of_all_requests():
    steady = RequestTiming(0.0, 1.0, 3.0, 10, 3, token_times=(1.0, 2.0, 3.0))
    bursts = RequestTiming(0.0, 1.0, 6.0, 10, 3, token_times=(1.0, 1.0, 6.0))
    assert (steady.itls, bursts.itls) == ([1.0, 1.0], [0.0, 5.0])
    found = latencies([steady, bursts])["itl_seconds"]
    assert found == percentiles([1.0, 1.0, 0.0, 5.0])
    assert found["p50"] == 1.0


def test_ttft_is_told_apart_by_the_prompts_length():
    def request(num_prompt_tokens, ttft):
        return RequestTiming(1.0, 1.0 + ttft, 9.0, num_prompt_tokens, 2)

    lengths = {99: 1.0, 100: 2.0, 499: 4.0, 500: 5.0, 2000: 7.0, 9000: 7.0}
    found = ttft_by_prompt([request(*each) for each in lengths.items()])
    assert {name: (values["num_requests"], values["p50"]) for name, values in found.items()} == {
        "under_100": (1, 1.0),
        "100_to_500": (2, 3.0),
        "500_to_2000": (1, 5.0),
        "2000_and_more": (2, 7.0),
    }
    assert ttft_by_prompt([request(10, 1.0)]).keys() == {"under_100"}


def test_raw_values_give_the_timing_back():
    assert RequestTiming.from_dict(SLOW.as_dict()) == SLOW
