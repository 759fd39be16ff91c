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


def run(args: argparse.Namespace) -> int:
    settings = ServerSettings(
        host=args.host,
        port=args.port,
        health_stall_seconds=args.health_stall_seconds,
        cors_origins=tuple(args.allow_origin),
    )
    config = engine_config(args)
    listener = bind(settings)
    preload()

    from gradus.engine.async_engine import AsyncEngine
    from gradus.runtime import load_runtime
    from gradus.server.service import Service

    runtime = load_runtime(config)
    print(runtime.summary, file=sys.stderr, flush=True)
    engine = AsyncEngine(runtime.core, max_queued_requests=args.max_queued_requests)
    service = Service(engine, runtime.inputs, args.served_model_name or runtime.source.name)
    message = how_to_try(base_url(listener), service.model_name)
    try:
        run_server(service, settings, listener, on_ready=lambda: print(message, flush=True))
    finally:
        runtime.close()
    return 0
