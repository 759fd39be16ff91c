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
    )
    configure_logging(settings.log_level, settings.log_format)
    config = engine_config(args)
    listener = bind(settings)
    preload()

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
    try:
        run_server(service, settings, listener, on_ready=lambda: print(message, flush=True))
    finally:
        runtime.close()
    return 0
