"""The evidence of streaming over gRPC, from a server process of its own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from gradus.bench.clients.completions import open_http
from gradus.bench.clients.grpc_streams import GrpcClient
from gradus.bench.clients.own_server import OwnServer
from gradus.bench.clients.server_counters import ServerCounters, settled_counters
from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.grpc.buffering import first_messages, messages_per_token
from gradus.bench.grpc.crowd import Crowd, ask_whole, stream_all
from gradus.bench.grpc.in_buffer import times_in_buffer
from gradus.bench.statistics import repeats, spread
from gradus.bench.timings import percentiles
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.server.streaming import StreamingSettings

METHOD = (
    "A server process and a client process on one machine, over TCP. Messages per token: streams of equal "
    "length at once, all messages divided by all tokens by the server's usage, at the server's defaults; the "
    "first run is left out. First message: one request at a time, the client's time from sending to the "
    "first message, with the buffer at its defaults and switched off in turn (Control's set_streaming), the "
    "order within a pair drawn, a tenth of the pairs left out as warm-up; what the buffer adds is the "
    "difference of the two distributions' quantiles, since a pair's difference is mostly that of two "
    "requests. Time in the buffer: on an event loop in process, with as many streams at once as before, from "
    "when a stream's first text comes to the buffer to when it leaves it. Connections: drawn prompts, "
    "lengths, temperatures and seeds, each on a connection of its own, all at once, against HTTP answers "
    "that were not streamed; for the duration, each connection sends another as soon as one has ended."
)
MOST_MESSAGES_PER_TOKEN = 0.25
MOST_DELAY_MS = 5.0
SHOWN_FAILURES = 10
NUM_PARTS = 5  # that are reported beside the runs: their warm-up, pairs, the buffer, HTTP, connections
NUM_BUFFERED = 400  # streams in process

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class GrpcOptions:
    """How much is measured. `duration`: seconds for which the connections stream; 0: one stream of each."""

    num_streams: int = 8
    num_tokens: int = 256
    num_runs: int = 5
    num_pairs: int = 100
    num_connections: int = 100
    duration: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_streams", "num_tokens", "num_runs", "num_pairs", "num_connections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    @property
    def num_warm_up_pairs(self) -> int:
        return -(-self.num_pairs // 10)


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was seen."""

    streaming: dict[str, str]  # the server's settings
    runs: list[dict[str, Any]]
    pairs: list[dict[str, float]]
    in_buffer: list[float]  # seconds
    crowd: Crowd
    counters: tuple[ServerCounters | None, ServerCounters | None]  # around the crowd
    usage: tuple[dict[str, float], dict[str, float]]  # the process's, around the crowd


def bench_grpc(config: EngineConfig, options: GrpcOptions, report: Report) -> dict[str, Any]:
    """Measure; `report` gets the name of each part that has ended. Returns the evidence.

    Raises:
        ServerStartError: the server did not start.
        RequestFailedError: a single stream failed; of the crowd's, failures are counted.
    """
    with OwnServer(config, has_grpc=True) as server:
        measured = asyncio.run(_measure(server, options, report))
    return to_evidence(config, options, measured)


async def _measure(server: OwnServer, options: GrpcOptions, report: Report) -> Measured:
    async with GrpcClient(server.grpc_address) as client, open_http(server.url) as http:
        streaming = await client.streaming()
        runs = []
        for run in range(options.num_runs + 1):
            runs.append(await messages_per_token(client, options.num_streams, options.num_tokens, run))
            report(f"messages per token, {f'run {run}' if run else 'warm-up'}")
        pairs = []
        for number in range(options.num_warm_up_pairs + options.num_pairs):
            pairs.append(await first_messages(client, number, streaming["grpc_flush_interval_ms"]))
        report("first messages")
        in_buffer = await times_in_buffer(
            StreamingSettings().for_grpc(), NUM_BUFFERED, options.num_streams, options.num_tokens
        )
        report("time in the buffer")
        questions = await ask_whole(http, options.num_connections)
        report("answers over HTTP")
        before, usage = await settled_counters(http), server.usage()
        crowd = await stream_all(server.grpc_address, questions, options.duration)
        report("connections")
        after, usage_after = await settled_counters(http), server.usage()
    return Measured(
        streaming,
        runs[1:],
        pairs[options.num_warm_up_pairs :],
        in_buffer,
        crowd,
        (before, after),
        (usage, usage_after),
    )


def to_evidence(config: EngineConfig, options: GrpcOptions, measured: Measured) -> dict[str, Any]:
    """What was seen, as evidence."""
    crowd = measured.crowd
    per_token = [run["messages_per_token"] for run in measured.runs]
    first = {
        side: _quantiles([pair[f"{side}_ms"] for pair in measured.pairs])
        for side in ("buffered", "unbuffered")
    }
    added = {name: value - first["unbuffered"][name] for name, value in first["buffered"].items()}
    in_buffer = _quantiles([seconds * 1e3 for seconds in measured.in_buffer])
    return evidence(
        "grpc",
        software={"grpcio": grpc.__version__},
        model={"name": config.model},
        parameters={
            **engine_parameters(config),
            **measured.streaming,
            "num_streams": options.num_streams,
            "tokens_of_a_stream": options.num_tokens,
            "num_pairs": options.num_pairs,
            "num_connections": options.num_connections,
            "duration_seconds": options.duration,
        },
        method=METHOD,
        results={
            "messages_per_token": spread(per_token),
            "tokens_per_second_of_a_stream": spread(
                [run["tokens_per_second_of_a_stream"] for run in measured.runs]
            ),
            "first_message_ms": first,
            "first_message_added_ms": added,
            "first_text_in_buffer_ms": in_buffer,
            "connections": _crowd_as_dict(crowd),
            "server_before": measured.usage[0],
            "server_after": measured.usage[1],
        },
        runs=[*measured.runs, *measured.pairs],
        verification={
            "at_most_a_quarter_of_a_message_per_token_or_one_a_flush_interval": all(
                run["messages_per_token"] <= _most_messages_per_token(run, options, measured.streaming)
                for run in measured.runs
            ),
            "first_text_in_buffer_under_5_ms_at_p99": in_buffer["p99"] < MOST_DELAY_MS,
            "first_message_added_under_5_ms_at_p50_and_p90": max(added["p50"], added["p90"]) < MOST_DELAY_MS,
            "no_stream_failed": not crowd.failures,
            "every_index_counts_from_0_without_a_gap": not crowd.num_without_every_index,
            "exactly_one_end_of_stream": not crowd.num_without_one_end,
            "texts_equal_those_that_were_not_streamed": not crowd.num_texts_that_differ,
            "the_servers_own_counters_agree": _counters_agree(crowd, *measured.counters),
            "repeats": repeats({"messages_per_token": per_token}),
        },
    )


def _most_messages_per_token(run: dict[str, Any], options: GrpcOptions, streaming: dict[str, str]) -> float:
    """What the buffer promises: where tokens come slowly the timer sends, beside first and last message."""
    flush_seconds = float(streaming["grpc_flush_interval_ms"]) / 1e3
    by_timer = 1 / (run["tokens_per_second_of_a_stream"] * flush_seconds) + 2 / options.num_tokens
    return max(MOST_MESSAGES_PER_TOKEN, by_timer)


def _quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    return {**(percentiles(milliseconds) or {}), "max": max(milliseconds)}


def _crowd_as_dict(crowd: Crowd) -> dict[str, Any]:
    return {
        "num_connections": crowd.num_connections,
        "num_streams": crowd.num_streams,
        "num_failed": len(crowd.failures),
        "failures": crowd.failures[:SHOWN_FAILURES] or None,
        "num_without_every_index": crowd.num_without_every_index,
        "num_without_one_end": crowd.num_without_one_end,
        "num_texts_that_differ": crowd.num_texts_that_differ,
        "num_messages": crowd.num_messages,
        "num_tokens": crowd.num_tokens,
        "seconds": crowd.seconds,
        "tokens_per_second": crowd.num_tokens / crowd.seconds,
        "first_message_seconds": spread(crowd.first_seconds) if crowd.first_seconds else None,
    }


def _counters_agree(crowd: Crowd, before: ServerCounters | None, after: ServerCounters | None) -> bool | None:
    """Whether the server counted the crowd's tokens and messages; None where it cannot be known."""
    if before is None or after is None or crowd.failures:
        return None
    num_tokens = after.generation_tokens_total - before.generation_tokens_total
    num_messages = after.grpc_messages_sent - before.grpc_messages_sent
    return num_tokens == crowd.num_tokens and num_messages == crowd.num_messages
