"""`/metrics`: its names and types, and its values after traffic that the client counted itself."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gradus.errors import ContextOverflowError, GradusError, InvalidRequestError, QueueFullError
from gradus.server.metrics import Metrics, rejection_reasons
from tests.server.harness import MODEL, say, serving
from tests.server.prometheus import scrape, value

COMPLETIONS = "/v1/completions"
GAUGES = {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"}
COUNTERS = {
    "prompt_tokens_total",
    "generation_tokens_total",
    "prompt_tokens_cached_total",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "num_preemptions_total",
    "request_success_total",
    "admission_rejections_total",
    "grpc_messages_total",
}
REQUEST_HISTOGRAMS = {
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
    "request_time_per_output_token_seconds",  # of requests with two tokens or more
    "time_to_first_token_seconds",
}
HISTOGRAMS = REQUEST_HISTOGRAMS | {"inter_token_latency_seconds", "iteration_tokens_total"}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
PROMPT = "A prompt of several blocks of sixteen tokens each, so that some of it can be cached"


def test_names_and_types_are_the_published_ones(server):
    text = server.http.get("/metrics").text
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    expected = {name: kind for kind, names in _BY_KIND.items() for name in names}
    assert types == {f"gradus:{name}": kind for name, kind in expected.items()}
    labels = {
        sample.name.removeprefix("gradus:"): set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels and "le" not in sample.labels
    }
    assert labels == {
        "request_success_total": {"finished_reason"},
        "admission_rejections_total": {"reason"},
        "grpc_messages_total": {"direction"},
    }


_BY_KIND = {"gauge": GAUGES, "counter": COUNTERS, "histogram": HISTOGRAMS}


# What Prometheus sends by default: 2.x, 3.x with names of any characters, and 3.x without.
OPEN_METRICS = [
    "application/openmetrics-text; version=1.0.0",
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;"
    "version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.2",
    "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,text/plain;version=0.0.4;q=0.2",
]


@pytest.mark.parametrize("accept", OPEN_METRICS)
def test_a_scraper_may_ask_for_open_metrics(server, accept):
    response = server.http.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    families = list(openmetrics.text_string_to_metric_families(response.text))
    assert {"gradus:prompt_tokens", "gradus:e2e_request_latency_seconds"} <= {each.name for each in families}
    assert samples_of(families) == samples_of(
        text_string_to_metric_families(server.http.get("/metrics").text)
    )


@pytest.mark.parametrize("escaping", ["", ";escaping=underscores", ";escaping=allow-utf-8"])
def test_a_scraper_may_ask_for_the_later_text_format(server, escaping):
    response = server.http.get("/metrics", headers={"accept": f"text/plain;version=1.0.0{escaping}"})
    families = text_string_to_metric_families(response.text)
    assert samples_of(families) == samples_of(
        text_string_to_metric_families(server.http.get("/metrics").text)
    )


def samples_of(families):
    """Names and labels; those of histograms' bounds are written in two ways."""
    return {(s.name, *sorted(s.labels.keys())) for family in families for s in family.samples}


def test_after_known_traffic_the_metrics_are_what_the_clients_counted():
    """Whole and streamed, one and several choices and prompts, ends of several kinds."""
    with serving(say("one two three four five six")) as server:
        bodies = [
            {"prompt": PROMPT, "max_tokens": 50},
            {"prompt": PROMPT, "max_tokens": 50},
            {"prompt": "Hi there", "max_tokens": 3},
            {
                "prompt": "Hi there",
                "max_tokens": 3,
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            {"prompt": ["Hello", PROMPT], "n": 2, "max_tokens": 4},
            {"prompt": PROMPT, "max_tokens": 50, "stop": "three"},
        ]
        client, usages, finished = server.client(), [], []
        for body in bodies:
            answer = client.completions.create(model=MODEL, **body)
            for part in answer if body.get("stream") else [answer]:
                finished += [choice.finish_reason for choice in part.choices if choice.finish_reason]
                usages += [part.usage] if part.usage else []
        server.wait_until_idle()
        samples = scrape(server)
        stats = server.engine.stats()
    num_choices = len(finished)
    assert num_choices == 9
    assert value(samples, "prompt_tokens_total") == sum(usage.prompt_tokens for usage in usages)
    num_generated = sum(usage.completion_tokens for usage in usages)
    assert value(samples, "generation_tokens_total") == num_generated
    num_cached = sum(usage.prompt_tokens_details.cached_tokens for usage in usages)
    assert num_cached > 0
    assert value(samples, "prompt_tokens_cached_total") == num_cached
    assert value(samples, "prefix_cache_hits_total") == num_cached
    assert value(samples, "prefix_cache_queries_total") == value(samples, "prompt_tokens_total")
    for reason in ("stop", "length", "abort", "error"):
        ended = value(samples, "request_success_total", finished_reason=reason)
        assert ended == finished.count(reason)
    for name in REQUEST_HISTOGRAMS:
        assert value(samples, f"{name}_count") == num_choices, name
    assert value(samples, "request_generation_tokens_sum") == num_generated
    assert value(samples, "inter_token_latency_seconds_count") == num_generated - num_choices
    assert value(samples, "iteration_tokens_total_count") == stats.num_steps
    assert value(samples, "iteration_tokens_total_sum") == stats.num_batched_tokens
    assert [value(samples, name) for name in sorted(GAUGES)] == [0, 0, 0]


def test_a_repeated_prompt_is_found_in_the_cache():
    with serving(say("yes")) as server:
        body = {"prompt": PROMPT, "max_tokens": 5}
        server.post(COMPLETIONS, body)
        before = scrape(server)
        usage = server.post(COMPLETIONS, body).json()["usage"]
        after = scrape(server)
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    assert cached == (usage["prompt_tokens"] - 1) // 16 * 16 > 0
    for name in ("prompt_tokens_cached_total", "prefix_cache_hits_total"):
        assert value(after, name) - value(before, name) == cached


def test_a_pool_that_is_too_small_shows_in_preemptions_and_usage(forever):
    with serving(forever, num_blocks=6, max_model_len=90, delay=0.002) as server:
        with ThreadPoolExecutor(4) as pool:
            bodies = [{"prompt": f"{i}", "max_tokens": 60, "timings": True} for i in range(4)]
            waiting = [pool.submit(server.post, COMPLETIONS, body) for body in bodies]
            usages = []
            while not all(future.done() for future in waiting):
                usages.append(value(scrape(server), "kv_cache_usage_perc"))
        timings = [future.result().json()["timings"] for future in waiting]
        samples = scrape(server)
    assert value(samples, "num_preemptions_total") > 0
    assert value(samples, "num_preemptions_total") == sum(each["preemptions"] for each in timings)
    assert 0.5 < max(usages) <= 1.0


def test_running_and_waiting_requests_are_gauged(forever):
    with serving(forever) as server:
        server.backend.gate.clear()
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(server.post, COMPLETIONS, {"prompt": "Hi", "max_tokens": 2}) for _ in "ab"]
            deadline = time.monotonic() + 20
            while _in_flight(server) != 2:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            server.backend.gate.set()
            assert [future.result().status_code for future in futures] == [200, 200]


def _in_flight(server):
    samples = scrape(server)
    return value(samples, "num_requests_running") + value(samples, "num_requests_waiting")


def test_refusals_are_counted_by_reason(forever):
    with serving(forever, max_queued_requests=1) as server:
        server.backend.gate.clear()
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(server.post, COMPLETIONS, {"prompt": "Hi", "n": 4}) for _ in range(8)]
            deadline = time.monotonic() + 20
            while sum(future.done() for future in futures) < 6:
                assert time.monotonic() < deadline
                time.sleep(0.005)
            server.backend.gate.set()
        statuses = [future.result().status_code for future in futures]
        too_long = server.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 5000})
        assert too_long.json()["error"]["code"] == "context_length_exceeded"
        assert server.post(COMPLETIONS, {"prompt": "Hi", "top_p": 7}).status_code == 400
        samples = scrape(server)
        server.backend.fail = True
        for _ in range(4):
            last = server.post(COMPLETIONS, {"prompt": "Hi"})
        assert last.json()["error"]["code"] == "engine_dead"
        dead = scrape(server)
    reasons = {"queue_full": statuses.count(429), "context_length": 1, "engine_dead": 0, "shutting_down": 0}
    assert statuses.count(429) > 0
    for reason, count in reasons.items():
        assert value(samples, "admission_rejections_total", reason=reason) == count
    assert value(samples, "request_success_total", finished_reason="length") == 4 * statuses.count(200)
    assert value(samples, "request_success_total", finished_reason="abort") == 0
    assert value(dead, "request_success_total", finished_reason="error") == 3
    assert value(dead, "admission_rejections_total", reason="engine_dead") == 1


def test_a_client_that_leaves_is_an_abort(endless):
    before = scrape(endless)
    body = {"prompt": "Hi", "max_tokens": 900, "stream": True}
    with httpx.stream("POST", f"{endless.url}{COMPLETIONS}", json=body, timeout=30) as response:
        next(response.iter_lines())
    deadline = time.monotonic() + 20
    while _aborts(scrape(endless)) != _aborts(before) + 1:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    after = scrape(endless)
    for name in ("e2e_request_latency_seconds_count", "request_decode_time_seconds_count"):
        assert value(after, name) == value(before, name)  # it was not served to its end
    assert value(after, "time_to_first_token_seconds_count") == 1 + value(
        before, "time_to_first_token_seconds_count"
    )


def _aborts(samples):
    return value(samples, "request_success_total", finished_reason="abort")


def test_metrics_can_be_off():
    with serving(say("yes"), metrics=False) as server:
        answer = server.post(COMPLETIONS, {"prompt": "Hi", "timings": True}).json()
        assert answer["timings"]["completion_tokens"] == answer["usage"]["completion_tokens"]
        response = server.http.get("/metrics")
    assert response.status_code == 404
    assert "--no-metrics" in response.json()["error"]["message"]


def test_two_servers_in_one_process_count_apart(server):
    with serving(say("yes")) as other:
        for _ in range(2):
            other.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 2})
        before = value(scrape(server), "generation_tokens_total")
        server.post(COMPLETIONS, {"prompt": "Hi", "max_tokens": 1})
        assert value(scrape(server), "generation_tokens_total") == before + 1
        assert value(scrape(other), "generation_tokens_total") == 2 * 2


def test_an_error_is_a_rejection_only_if_it_has_a_reason():
    metrics = Metrics()
    for error in (
        QueueFullError("x", 1.0),
        QueueFullError("y", 1.0),
        ContextOverflowError("z"),
        InvalidRequestError("v"),
    ):
        metrics.reject(error)
    assert metrics.num_rejections == {"queue_full": 2, "context_length": 1}
    assert set(metrics.num_rejections) <= set(rejection_reasons())
    assert GradusError.reason is None


def test_grpc_messages_are_counted_by_direction(server):
    metrics = server.server.config.app.state.context.service.observer.metrics
    metrics.grpc_messages("received")
    metrics.grpc_messages("sent", 3)
    samples = scrape(server)
    assert value(samples, "grpc_messages_total", direction="received") == 1
    assert value(samples, "grpc_messages_total", direction="sent") == 3


@pytest.fixture
def forever():
    return lambda tokenizer, context, choice: 45
