"""`gradus bench serve` from its flags to its last line."""

import json
import math

import pytest

from gradus.cli.main import build_parser
from gradus.cli.serve_args import api_key, result_path, serve_options, shown_metrics, tokenizer_of, url_of
from gradus.errors import ConfigError
from tests.bench.serve.fake_server import fake_server
from tests.cli.harness import gradus


def parsed(*flags):
    return build_parser("bench").parse_args(["bench", "serve", *flags])


def options(*flags):
    args = parsed(*flags)
    return serve_options(args, tokenizer_of(args, "demo"))


@pytest.mark.parametrize(
    ("flags", "url"),
    [
        ([], None),
        (["--base-url", "http://there:1"], "http://there:1"),
        (["--host", "there"], "http://there:8000"),
        (["--port", "81"], "http://127.0.0.1:81"),
        (["--host", "there", "--port", "81"], "http://there:81"),
    ],
)
def test_the_server_is_where_the_flags_say(flags, url):
    assert url_of(parsed(*flags)) == url


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--base-url", "http://there:1", "--port", "81"], "one or the other"),
        (["demo", "--port", "81"], "MODEL is for a server that is started here"),
        (["--port", "81", "--quantization", "int4"], "--quantization is for a server that is started here"),
        (["--base-url", "there:1"], "address is 'there:1'; it must be http"),
        (["--base-url", "http://there:one"], "must be http"),
        (["--base-url", ""], "must be http"),
        (["--port", "99999"], "must be http"),
        (["--port", "0"], "must be http"),
        (["demo", "--model", "other"], "MODEL and --model both"),
        (["--served-model-name", "m"], "say where it is"),
    ],
)
def test_flags_that_do_not_fit_the_servers_address_are_refused(flags, said):
    with pytest.raises(ConfigError, match=said):
        url_of(parsed(*flags))


@pytest.mark.parametrize("named", [["--dataset-name", "random"], []])
def test_random_prompts_have_the_lengths_asked_for_and_come_all_at_once(named):
    found = options(*named, "--num-prompts", "3", "--random-input-len", "7")
    requests = found.workload.requests(100, 1)
    assert [(len(request.prompt), request.output_len) for request in requests] == [(7, 128)] * 3
    assert found.workload.concurrency == 3


def test_numbers_without_a_flag_of_their_own_change_a_workload():
    named = ["--workload", "multi-turn-cpu", "--workload-option", "num_conversations=2"]
    assert len(options(*named).workload.requests(100, 1)) == 2 * 4


def test_lengths_have_a_short_name_too():
    found = options("--num-prompts", "2", "--input-len", "7", "--output-len", "5").workload
    assert (found.input_len, found.output_len) == (7, 5)


def test_a_number_is_given_once():
    with pytest.raises(ConfigError, match="num_requests is given by a flag"):
        options("--num-prompts", "3", "--workload-option", "num_requests=4")


def test_a_rate_makes_an_open_loop_with_any_number_in_flight():
    flags = ["--dataset-name", "random", "--num-prompts", "400", "--random-input-len", "1"]
    found = options(*flags, "--request-rate", "8", "--burstiness", "0.5")
    arrivals = [request.arrival for request in found.workload.requests(100, 1)]
    assert arrivals == sorted(arrivals)
    assert 399 / arrivals[-1] == pytest.approx(8, rel=0.3)
    assert found.workload.concurrency is None
    assert options(*flags, "--request-rate", "8", "--max-concurrency", "2").workload.concurrency == 2


def test_a_workload_keeps_its_own_concurrency_unless_told():
    assert options().workload.concurrency == 8
    assert options("--max-concurrency", "3", "--num-prompts", "5").workload.concurrency == 3


def test_flags_become_what_is_asked_and_reported():
    flags = ["--backend", "openai-chat", "--temperature", "0.5", "--top-k", "4", "--no-ignore-eos"]
    flags += ["--seed", "7", "--num-warmups", "2", "--runs", "3", "--metric-percentiles", "50,99.9"]
    found = options(*flags, "--goodput", "ttft:200", "e2el:5000", "--prompts-as", "text")
    assert found.endpoint == "/v1/chat/completions"
    assert found.sampling == {"temperature": 0.5, "top_k": 4}
    assert (found.ignore_eos, found.sends_text) == (False, True)
    assert (found.seed, found.num_warmups, found.num_runs) == (7, 2, 3)
    assert list(found.percentiles) == [50, 99.9]
    assert found.goodput == {"ttft": 0.2, "e2el": 5.0}
    assert options("--backend", "vllm", "--endpoint", "/proxy/completions").endpoint == "/proxy/completions"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--goodput", "ttft:fast"], "ttft:MILLISECONDS"),
        (["--goodput", "itl:200"], "ttft, tpot, e2el"),
        (["--metric-percentiles", "a"], "commas"),
        (["--random-input-len", "7", "--dataset-name", "nano"], "of random, not of nano"),
        (["--burstiness", "2"], "give a request rate"),
        (["--dataset-name", "no-such"], "reference"),
        (["--dataset-path", "a.json"], "only sharegpt"),
        (["--request-rate", "-1"], "request_rate is -1"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_could(flags, said):
    with pytest.raises(ConfigError, match=said):
        options(*flags)


def test_metrics_are_chosen_by_name():
    assert shown_metrics(parsed("--percentile-metrics", "ttft, itl")) == ["ttft", "itl"]
    with pytest.raises(ConfigError, match="'e2e'; it knows ttft, tpot, itl, e2el"):
        shown_metrics(parsed("--percentile-metrics", "e2e"))


def test_results_go_where_vllms_flags_or_ours_say(tmp_path):
    assert result_path(parsed()) is None
    assert result_path(parsed("--output", "a.json")).name == "a.json"
    found = result_path(parsed("--result-dir", str(tmp_path), "--result-filename", "b.json"))
    assert found == tmp_path / "b.json"
    assert result_path(parsed("--save-result")).match("serve-*.json")
    with pytest.raises(ConfigError, match="give one"):
        result_path(parsed("--output", "a.json", "--save-result"))


def test_an_unknown_flag_is_refused(capsys):
    with pytest.raises(SystemExit):
        parsed("--use-beam-search")
    assert "--use-beam-search" in capsys.readouterr().err


def test_the_key_comes_from_the_environment_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert api_key() == "secret"


def test_without_a_tokenizer_there_are_no_prompts():
    with pytest.raises(ConfigError, match="--tokenizer"):
        tokenizer_of(parsed("--port", "81"), None)


def test_a_server_of_our_own_is_started_measured_and_ended(tmp_path, tiny_model_path):
    path = tmp_path / "serve.json"
    flags = ["--num-prompts", "4", "--max-concurrency", "2", "--runs", "2", "--goodput", "ttft:60000"]
    ran = gradus("bench", "serve", tiny_model_path, *flags, "--output", path)
    assert ran.returncode == 0, ran.stderr
    *table, last = ran.stdout.splitlines()
    document = json.loads(last)
    assert json.loads(path.read_text()) == document
    for words in ("successful requests", "request goodput", "time to first token", "p99"):
        assert any(words in line for line in table)
    assert document["results"]["num_successful_requests"] == 8
    assert document["verification"]["the_servers_own_counters_agree"] is True
    results = document["results"]
    assert math.isclose(
        results["good_requests_per_second"]["median"], results["requests_per_second"]["median"]
    )


def test_a_server_that_runs_is_driven_and_its_failures_end_with_1():
    with fake_server(refuses=lambda number: number == 3) as server:
        flags = ["--base-url", server.url, "--tokenizer", "demo", "--num-prompts", "4", "--runs", "1"]
        ran = gradus("bench", "serve", *flags, "--num-warmups", "0")
    assert ran.returncode == 1
    assert "every request was answered" in ran.stderr
    assert "failed: RequestFailedError: status 429: too many" in ran.stdout
    assert json.loads(ran.stdout.splitlines()[-1])["results"]["num_failed_requests"] == 1


def test_a_server_and_its_tokenizer_may_have_other_names():
    with fake_server() as server:
        flags = ["--base-url", server.url, "--model", "demo", "--served-model-name", "other"]
        ran = gradus("bench", "serve", *flags, "--num-prompts", "2", "--runs", "1")
    assert ran.returncode == 0, ran.stderr
    assert {body["model"] for body in server.bodies} == {"other"}
