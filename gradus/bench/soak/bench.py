"""The evidence of a server under load of all kinds, a process of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import grpc
import httpx

from gradus.bench.clients.completions import open_http
from gradus.bench.clients.grpc_streams import GrpcClient
from gradus.bench.clients.own_server import OwnServer
from gradus.bench.clients.server_counters import ServerCounters, settled_counters
from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.soak.kinds import Server
from gradus.bench.soak.load import Log, SoakOptions, soak
from gradus.bench.soak.trends import drift, growth
from gradus.bench.timings import percentiles
from gradus.config import EngineConfig

METHOD = (
    "A server process and a client process on one machine, over TCP, with HTTP and gRPC. Requests begin at "
    "drawn times, whether or not earlier ones have ended, unless as many are in flight as may be; kinds, "
    "prompts, lengths and seeds are drawn. A request that was answered in any other way than its kind asks "
    "for has failed. Resident memory, open files and threads are read from /proc; growth is the slope by "
    "least squares over the second half of the samples: caches are full by then. Drift is each kind's median "
    "latency in the last third of the time over that in the first."
)
NUM_KV_BLOCKS = 256  # a pool that is soon touched all over, so that it is not taken for growth
SHOWN_FAILURES = 20
WATCHED = ("resident_bytes", "open_files", "threads")


def bench_soak(
    config: EngineConfig, options: SoakOptions, on_sample: Callable[[Log], None]
) -> dict[str, Any]:
    """Load a server of its own; `on_sample` gets the log at each look at the process. Returns the evidence.

    Raises:
        ServerStartError: the server did not start.
    """
    config = with_small_pool(config)
    with OwnServer(config, has_grpc=True) as server:
        log, left = asyncio.run(_load(server, options, on_sample))
        status = server.close()
    return to_evidence(config, options, log, left, status)


def with_small_pool(config: EngineConfig) -> EngineConfig:
    """The pool is small unless the user says how large it is."""
    is_given = config.kv_cache_memory_bytes is not None or config.num_kv_blocks is not None
    return config if is_given or config.kv_layout != "paged" else replace(config, num_kv_blocks=NUM_KV_BLOCKS)


async def _load(
    server: OwnServer, options: SoakOptions, on_sample: Callable[[Log], None]
) -> tuple[Log, ServerCounters | None]:
    async with open_http(server.url) as http, GrpcClient(server.grpc_address) as client:
        log = await soak(Server(http, client), options, server.usage, on_sample)
        return log, await settled_counters(http)


def to_evidence(
    config: EngineConfig, options: SoakOptions, log: Log, left: ServerCounters | None, status: int
) -> dict[str, Any]:
    """What was seen, as evidence. `left` is what the server counts in the end, `status` how it ended."""
    return evidence(
        "soak",
        software={"grpcio": grpc.__version__, "httpx": httpx.__version__},
        model={"name": config.model},
        parameters={**engine_parameters(config), **asdict(options)},
        method=METHOD,
        results={
            "num_sent": log.num_sent,
            "num_failed": len(log.failures),
            "failures": log.failures[:SHOWN_FAILURES],
            "latency_seconds": _latencies(log),
            "latency_drift": drift(log.ended, options.duration),
            "growth": {name: growth(log.samples, name) for name in WATCHED},
            "first_sample": log.samples[0],
            "last_sample": log.samples[-1],
            "left_in_the_engine": None if left is None else left.left,
            "exit_status": status,
        },
        runs=log.samples,
        verification={
            "every_request_ended": len(log.ended) + len(log.failures) == log.num_sent,
            "nothing_failed": not log.failures,
            "the_engine_is_empty": left is not None and left.is_idle,
            "the_server_ended_in_order": status == 0,
        },
    )


def _latencies(log: Log) -> dict[str, dict[str, float]]:
    """Count and percentiles of each kind."""
    found: dict[str, dict[str, float]] = {}
    for kind in sorted({request.kind for request in log.ended}):
        seconds = [request.seconds for request in log.ended if request.kind == kind]
        found[kind] = {"count": len(seconds), **(percentiles(seconds) or {})}
    return found
