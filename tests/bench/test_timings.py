"""Figures of a run, by hand."""

import numpy as np
import pytest

from gradus.bench.timings import RequestTiming, Run, latencies, percentiles

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
            "output_tokens_per_second": 10 / 6.5,  # from 0.5 to 7
            "total_tokens_per_second": 30 / 6.5,
            "ttft_seconds": 1.5,
            "prompt_tokens_per_second": 10 / 1.5,
            "tpot_seconds": 0.75,
            "decode_tokens_per_second": 1 / 0.75,
        }
    )


def test_what_a_run_cannot_tell_is_absent():
    figures = Run((ONE_TOKEN,)).figures()
    assert "tpot_seconds" not in figures
    assert "decode_tokens_per_second" not in figures
    assert latencies([ONE_TOKEN])["tpot_seconds"] is None


def test_percentiles_are_of_the_values_that_exist():
    values = list(range(101))
    assert percentiles([*values, None]) == {"p50": 50.0, "p90": 90.0, "p99": 99.0}
    assert percentiles([None]) is None
    assert percentiles([1.0, 2.0])["p90"] == pytest.approx(np.quantile([1.0, 2.0], 0.9))
