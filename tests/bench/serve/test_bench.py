"""The evidence of a served workload: from our own server, and from servers that delay, lie and break."""

import json

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.serve.bench import bench_serve
from gradus.bench.serve.options import ServeOptions
from gradus.bench.tokenizers import find_tokenizer
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.errors import ConfigError
from tests.bench.serve.fake_server import fake_server

SMALL = FixedWorkload(name="small", num_requests=6, concurrency=3, input_len=9, output_len=5)


@pytest.fixture(scope="module")
def tokenizer():
    return find_tokenizer("demo")


def measured(url, tokenizer, model=None, **changes):
    seen = []
    values = {"workload": SMALL, "num_runs": 2} | changes
    document = bench_serve(url, tokenizer, ServeOptions(**values), seen.append, model=model)
    assert len(seen) == values["num_runs"]
    return json.loads(to_line(document))


def failed_checks(document):
    return {name for name, holds in document["verification"].items() if holds is False}


@pytest.mark.parametrize(
    "changes", [{}, {"sends_text": True}, {"endpoint": "/v1/chat/completions", "num_runs": 1}]
)
def test_our_own_servers_counts_are_ours(own_server, tokenizer, changes):
    document = measured(own_server.url, tokenizer, **changes)
    runs = document["parameters"]["num_runs"]
    results, verification = document["results"], document["verification"]
    verification.pop("repeats")
    assert set(verification.values()) == {True}
    assert verification["the_servers_own_counters_agree"] is True
    assert ("every_prompt_was_counted_as_sent" in verification) is (not changes)
    assert results["num_successful_requests"] == 6 * runs
    assert results["num_output_tokens"] == 6 * runs * 5
    if not changes:
        assert results["num_input_tokens"] == 6 * runs * 9
    assert set(results["latencies"]) == {"ttft_seconds", "tpot_seconds", "itl_seconds", "e2e_seconds"}
    assert len(document["runs"][0]["requests"]) == 6


def test_an_injected_delay_is_in_ttft_and_end_to_end(tokenizer):
    with fake_server(delay=0.2) as server:
        latencies = measured(server.url, tokenizer, num_runs=1)["results"]["latencies"]
    assert latencies["ttft_seconds"]["median"] >= 0.2
    assert latencies["e2e_seconds"]["median"] >= 0.2


def test_bodies_have_the_workloads_prompts_and_the_models_name(tokenizer):
    with fake_server() as server:
        measured(server.url, tokenizer, num_runs=1, num_warmups=2, sampling={"temperature": 0.5})
        bodies = server.bodies
    assert len(bodies) == 2 + 6
    asked = sorted(list(request.prompt) for request in SMALL.requests(tokenizer.vocab_size, 1))
    assert sorted(body["prompt"] for body in bodies[2:]) == asked
    assert {(b["model"], b["max_tokens"], b["temperature"], b["ignore_eos"]) for b in bodies} == {
        ("fake", 5, 0.5, True)
    }


@pytest.mark.parametrize(
    ("behaviour", "not_so"),
    [
        ({}, set()),
        ({"has_metrics": False}, set()),
        ({"tokens_fewer": 1}, {"every_request_gave_all_tokens"}),
        (
            {"tokens_fewer": -1},
            {"every_request_gave_all_tokens", "no_request_gave_more_tokens_than_asked"},
        ),
        (
            {"tokens_fewer": -2, "lie": -2},
            {"no_answer_had_more_chunks_than_tokens", "the_servers_own_counters_agree"},
        ),
        ({"tokens_fewer": 2, "lie": 2}, {"the_servers_own_counters_agree"}),
        ({"prompt_lie": 1}, {"every_prompt_was_counted_as_sent"}),
        ({"uncounted": 3}, {"the_servers_own_counters_agree"}),
    ],
)
def test_a_wrong_count_is_seen(tokenizer, behaviour, not_so):
    with fake_server(**behaviour) as server:
        document = measured(server.url, tokenizer, num_runs=1, num_warmups=0)
    assert failed_checks(document) == not_so
    assert ("the_servers_own_counters_agree" in document["verification"]) is behaviour.get(
        "has_metrics", True
    )


def test_without_ignore_eos_fewer_tokens_are_no_mistake(tokenizer):
    with fake_server(tokens_fewer=2) as server:
        document = measured(server.url, tokenizer, num_runs=1, ignore_eos=False)
        assert "ignore_eos" not in server.bodies[0]
    assert failed_checks(document) == set()
    assert document["results"]["num_output_tokens"] == 6 * 3


def test_failures_are_counted_and_do_not_end_the_run(tokenizer):
    with fake_server(breaks_off=lambda number: number == 3, refuses=lambda number: number == 4) as server:
        document = measured(server.url, tokenizer, num_warmups=0)
    results = document["results"]
    assert (results["num_successful_requests"], results["num_failed_requests"]) == (10, 2)
    assert results["num_output_tokens"] == 10 * 5
    assert failed_checks(document) == {"every_request_was_answered"}
    said = " ".join(document["runs"][0]["failures"])
    assert "broke off" in said
    assert "status 429: too many" in said


def test_a_server_that_answers_nothing_has_no_figures(tokenizer):
    with fake_server(refuses=lambda number: True) as server:
        document = measured(server.url, tokenizer)
    assert document["results"] == {
        "num_successful_requests": 0,
        "num_failed_requests": 12,
        "num_input_tokens": 0,
        "num_output_tokens": 0,
        "latencies": {},
    }


def test_nobody_there_or_no_model_is_a_configuration_error(tokenizer):
    with pytest.raises(ConfigError, match=r"nobody answers at http://127.0.0.1:9"):
        measured("http://127.0.0.1:9", tokenizer)
    with fake_server(models=[]) as server, pytest.raises(ConfigError, match="--model"):
        measured(server.url, tokenizer)


def test_a_model_that_is_named_is_not_asked_for(tokenizer):
    with fake_server(models=[]) as server:
        assert measured(server.url, tokenizer, model="mine", num_runs=1)["model"] == {"name": "mine"}
        assert {body["model"] for body in server.bodies} == {"mine"}
