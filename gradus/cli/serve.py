"""`gradus serve`: a model behind the OpenAI-compatible HTTP API."""

import argparse
import sys

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.server.observe.logs import configure_logging
from gradus.server.run import base_url, bind, how_to_try, preload
from gradus.server.run import run as run_server
from gradus.server.settings import LOG_FORMATS, LOG_LEVELS, ServerSettings

_DEFAULTS = ServerSettings()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("server")
    group.add_argument("--host", default=_DEFAULTS.host, help="default: %(default)s, this machine only")
    group.add_argument("--port", type=int, default=_DEFAULTS.port, help="0: any (default: %(default)s)")
    group.add_argument("--served-model-name", metavar="NAME", help="what clients call the model")
    group.add_argument("--max-queued-requests", type=int, default=1024, metavar="N")
    group.add_argument(
        "--health-stall-seconds",
        type=float,
        default=_DEFAULTS.health_stall_seconds,
        metavar="S",
        help="/health fails when work waits and no step has completed for so long (default: %(default)s)",
    )
    group.add_argument("--no-metrics", action="store_true", help="count nothing, and have no /metrics")
    group.add_argument(
        "--trace-requests",
        type=int,
        default=_DEFAULTS.trace_requests,
        metavar="N",
        help="/debug/trace shows the last N requests; 0: off (default: %(default)s)",
    )
    group.add_argument("--log-level", choices=LOG_LEVELS, default=_DEFAULTS.log_level)
    group.add_argument("--log-format", choices=LOG_FORMATS, default=_DEFAULTS.log_format)
    group.add_argument("--log-prompts", action="store_true", help="write prompts into the log")
    group.add_argument("--allow-origin", action="append", default=[], metavar="URL", help="CORS; repeatable")
    _add_grpc_arguments(parser.add_argument_group("gRPC and streaming"))


def _add_grpc_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--grpc-port", type=int, metavar="PORT", help="serve gRPC, too; 0: any free port")
    group.add_argument("--grpc-uds", metavar="PATH", help="serve gRPC on a Unix socket")
    group.add_argument(
        "--stream-chunk-size",
        type=int,
        metavar="N",
        help="tokens per chunk of a stream (default: 1 in server-sent events, 4 over gRPC)",
    )
    group.add_argument(
        "--grpc-buffer-size",
        type=int,
        default=_DEFAULTS.grpc_buffer_size,
        metavar="N",
        help="chunks per message over gRPC (default: %(default)s)",
    )
    group.add_argument(
        "--grpc-flush-interval-ms",
        type=float,
        default=_DEFAULTS.grpc_flush_interval_ms,
        metavar="MS",
        help="the longest that a token waits for others; 0: not at all (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    settings = ServerSettings(
        host=args.host,
        port=args.port,
        health_stall_seconds=args.health_stall_seconds,
        metrics=not args.no_metrics,
        trace_requests=args.trace_requests,
        log_level=args.log_level,
        log_format=args.log_format,
        log_prompts=args.log_prompts,
        cors_origins=tuple(args.allow_origin),
        grpc_port=args.grpc_port,
        grpc_uds=args.grpc_uds,
        stream_chunk_size=args.stream_chunk_size,
        grpc_buffer_size=args.grpc_buffer_size,
        grpc_flush_interval_ms=args.grpc_flush_interval_ms,
    )
    configure_logging(settings.log_level, settings.log_format)
    config = engine_config(args)
    listener = bind(settings)
    preload(settings)

    from gradus.engine.async_engine import AsyncEngine
    from gradus.runtime import load_runtime
    from gradus.server.observe.observer import Observer
    from gradus.server.service import Service

    runtime = load_runtime(config)
    print(runtime.summary, file=sys.stderr, flush=True)
    engine = AsyncEngine(runtime.core, max_queued_requests=args.max_queued_requests)
    name = args.served_model_name or runtime.source.name
    service = Service(engine, runtime.inputs, name, Observer.of(settings))
    message = how_to_try(base_url(listener), service.model_name)

    def on_ready(grpc_addresses: list[str]) -> None:
        print(message, *(f"gRPC is served at {address}" for address in grpc_addresses), sep="\n", flush=True)

    try:
        run_server(service, settings, listener, on_ready)
    finally:
        runtime.close()
    return 0
