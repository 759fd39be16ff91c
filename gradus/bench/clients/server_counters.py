"""What a Gradus server counts about itself, from its `/metrics`."""

import asyncio
from dataclasses import dataclass, fields

import httpx

PREFIX = "gradus:"
SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Tokens and messages since the server's start, and what is in its engine now (docs/observability.md)."""

    prompt_tokens_total: float
    prompt_tokens_cached_total: float
    generation_tokens_total: float
    request_success_total: float  # ended, for whatever reason
    grpc_messages_sent: float
    num_requests_running: float
    num_requests_waiting: float
    kv_cache_usage_perc: float

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in the engine."""
        return not (self.num_requests_running or self.num_requests_waiting or self.kv_cache_usage_perc)

    @property
    def left(self) -> dict[str, float]:
        """What is in the engine."""
        names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
        return {name: getattr(self, name) for name in names}


async def read_counters(http: httpx.AsyncClient) -> ServerCounters | None:
    """None: the server is another one's, counts nothing, or does not tell us."""
    try:
        response = await http.get("/metrics")
    except httpx.HTTPError:
        return None
    if response.status_code != 200 or PREFIX not in response.text:
        return None
    from prometheus_client.parser import text_string_to_metric_families

    sums = {field.name: 0.0 for field in fields(ServerCounters)}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            if "direction" in sample.labels:
                name = f"{name.removesuffix('_total')}_{sample.labels['direction']}"
            if name in sums:
                sums[name] += sample.value
    return ServerCounters(**sums)


async def settled_counters(http: httpx.AsyncClient) -> ServerCounters | None:
    """As soon as the engine is empty, or after ten seconds if it does not become so."""
    for _ in range(int(SETTLE_SECONDS / 0.1)):
        counters = await read_counters(http)
        if counters is None or counters.is_idle:
            return counters
        await asyncio.sleep(0.1)
    return counters
