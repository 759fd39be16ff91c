"""`gradus serve`: a model behind the OpenAI-compatible HTTP API."""

import argparse
import sys

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.server.run import base_url, bind, how_to_try, preload
from gradus.server.run import run as run_server
from gradus.server.settings import ServerSettings

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
        cors_origins=tuple(args.allow_origin),
        grpc_port=args.grpc_port,
        grpc_uds=args.grpc_uds,
        stream_chunk_size=args.stream_chunk_size,
        grpc_buffer_size=args.grpc_buffer_size,
        grpc_flush_interval_ms=args.grpc_flush_interval_ms,
    )
    config = engine_config(args)
    listener = bind(settings)
    preload(settings)

    from gradus.engine.async_engine import AsyncEngine
    from gradus.runtime import load_runtime
    from gradus.server.service import Service

    runtime = load_runtime(config)
    print(runtime.summary, file=sys.stderr, flush=True)
    engine = AsyncEngine(runtime.core, max_queued_requests=args.max_queued_requests)
    service = Service(engine, runtime.inputs, args.served_model_name or runtime.source.name)
    message = how_to_try(base_url(listener), service.model_name)

    def on_ready(grpc_addresses: list[str]) -> None:
        print(message, *(f"gRPC is served at {address}" for address in grpc_addresses), sep="\n", flush=True)

    try:
        run_server(service, settings, listener, on_ready)
    finally:
        runtime.close()
    return 0
