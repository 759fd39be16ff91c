"""Metrics in the Prometheus text formats: the engine's counters and the server's, read at each scrape.

The only module that knows prometheus_client, which it imports at the first scrape.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gradus.engine.stats import STEP_TOKEN_BOUNDS, EngineStats
from gradus.server.metrics import Metrics, rejection_reasons
from gradus.server.observe.histogram import Histogram

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PREFIX = "gradus:"


class Exposition:
    """One server's metrics under a registry of its own."""

    def __init__(self, metrics: Metrics, engine_stats: Callable[[], EngineStats]) -> None:
        self._metrics = metrics
        self._engine_stats = engine_stats
        self._registry: CollectorRegistry | None = None

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics, and the content type of the format that an `Accept` header prefers."""
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.openmetrics.exposition import ALLOWUTF8

        if self._registry is None:
            self._registry = CollectorRegistry(auto_describe=False)
            self._registry.register(self)
        encode: Any
        encode, content_type = choose_encoder(accept)
        # No name here needs escaping; prometheus_client would write the colon of samples as "_".
        return encode(self._registry, escaping=ALLOWUTF8), content_type

    def describe(self) -> list[Any]:
        """Nothing to check names against: the registry is this object's own."""
        return []

    def collect(self) -> Iterator[Any]:
        """prometheus_client's metric families, of one snapshot of the engine."""
        stats = self._engine_stats()
        yield from _gauges(stats)
        yield from _counters(stats, self._metrics)
        yield from _histograms(stats, self._metrics)


def _gauges(stats: EngineStats) -> Iterator[Any]:
    from prometheus_client.core import GaugeMetricFamily as Gauge

    usage = stats.num_used_blocks / stats.num_blocks
    yield Gauge(PREFIX + "num_requests_running", "Requests that hold KV blocks.", stats.num_running)
    yield Gauge(PREFIX + "num_requests_waiting", "Requests that wait to be scheduled.", stats.num_waiting)
    yield Gauge(PREFIX + "kv_cache_usage_perc", "Share of the KV blocks in use; 1 is all.", usage)


def _counters(stats: EngineStats, metrics: Metrics) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily as Counter

    plain = {
        "prompt_tokens": ("Prompt tokens processed, cached ones included.", metrics.num_prompt_tokens),
        "generation_tokens": ("Tokens generated for clients.", metrics.num_generated_tokens),
        "prompt_tokens_cached": (
            "Prompt tokens whose KV was in the cache.",
            metrics.num_cached_prompt_tokens,
        ),
        "prefix_cache_queries": (
            "Prompt tokens looked up in the prefix cache.",
            stats.num_prefix_cache_queries,
        ),
        "prefix_cache_hits": ("Prompt tokens found in the prefix cache.", stats.num_prefix_cache_hits),
        "num_preemptions": ("Preemptions by the scheduler.", stats.num_preemptions),
    }
    for name, (text, value) in plain.items():
        yield Counter(PREFIX + name, text, value)
    rejections = dict.fromkeys(rejection_reasons(), 0) | metrics.num_rejections
    labelled: tuple[tuple[str, str, str, Mapping[Any, int]], ...] = (
        ("request_success", "Requests ended.", "finished_reason", metrics.num_finished),
        ("admission_rejections", "Requests that were not admitted.", "reason", rejections),
        ("grpc_messages", "gRPC messages.", "direction", metrics.num_grpc_messages),
    )
    for name, text, label, values in labelled:
        family = Counter(PREFIX + name, text, labels=[label])
        for value, count in values.items():
            family.add_metric([value], count)
        yield family


def _histograms(stats: EngineStats, metrics: Metrics) -> Iterator[Any]:
    steps = Histogram(STEP_TOKEN_BOUNDS)
    steps.counts, steps.sum = stats.num_steps_by_tokens, stats.num_batched_tokens
    for name, text, histogram in (
        ("time_to_first_token_seconds", "Arrival to first token.", metrics.time_to_first_token),
        ("inter_token_latency_seconds", "Between two tokens of a request.", metrics.inter_token_latency),
        ("request_time_per_output_token_seconds", "A request's mean.", metrics.time_per_output_token),
        ("e2e_request_latency_seconds", "Arrival to last token.", metrics.e2e_latency),
        ("request_queue_time_seconds", "Until first scheduled.", metrics.queue_time),
        ("request_prefill_time_seconds", "First scheduled to first token.", metrics.prefill_time),
        ("request_decode_time_seconds", "First token to last token.", metrics.decode_time),
        ("iteration_tokens_total", "Tokens computed in a step.", steps),
        ("request_prompt_tokens", "Tokens of a request's prompt.", metrics.prompt_tokens),
        ("request_generation_tokens", "Tokens generated for a request.", metrics.generation_tokens),
    ):
        yield _histogram(name, text, histogram)


def _histogram(name: str, text: str, histogram: Histogram) -> Any:
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    counts = accumulate(list(histogram.counts))  # a copy: all that follows is of one moment
    bounds = [*(floatToGoString(bound) for bound in histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, counts, strict=True))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=histogram.sum)
