"""Which requests are good, by hand."""

import pytest

from gradus.bench.goodput import goodput, is_good, objectives
from gradus.bench.timings import RequestTiming, Run
from gradus.errors import ConfigError

# TTFT 0.2 s, TPOT 0.05 s, E2E 0.4 s
REQUEST = RequestTiming(start=1.0, first_token=1.2, end=1.4, num_prompt_tokens=10, num_output_tokens=5)
ONE_TOKEN = RequestTiming(start=1.0, first_token=1.1, end=1.1, num_prompt_tokens=10, num_output_tokens=1)
SLOW = RequestTiming(start=1.0, first_token=2.0, end=3.0, num_prompt_tokens=10, num_output_tokens=5)


def test_objectives_are_given_in_milliseconds():
    assert objectives(["ttft:200", "tpot:50.5", "e2el:1e3"]) == {"ttft": 0.2, "tpot": 0.0505, "e2el": 1.0}
    assert objectives([]) == {}


@pytest.mark.parametrize(
    ("texts", "is_kept"),
    [
        ([], True),
        (["ttft:201", "tpot:51", "e2el:401"], True),
        (["ttft:199"], False),
        (["tpot:49"], False),
        (["e2el:399"], False),
        (["ttft:201", "tpot:49"], False),
    ],
)
def test_every_objective_must_be_kept(texts, is_kept):
    assert is_good(REQUEST, objectives(texts)) is is_kept


def test_a_request_of_one_token_cannot_miss_tpot():
    assert is_good(ONE_TOKEN, objectives(["tpot:1"]))


def test_goodput_is_the_good_requests_over_the_runs_time():
    assert goodput(Run((REQUEST, ONE_TOKEN, SLOW)), objectives(["ttft:500"])) == pytest.approx(2 / 2.0)


@pytest.mark.parametrize(
    "text", ["itl:5", "ttft", "ttft:", "ttft:x", "ttft:0", "ttft:-1", "ttft:nan", "ttft:inf"]
)
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(ConfigError, match=r"ttft, tpot, e2el|MILLISECONDS"):
        objectives([text])


def test_a_metric_given_twice_is_refused():
    with pytest.raises(ConfigError, match="ttft twice"):
        objectives(["ttft:1", "ttft:2"])
