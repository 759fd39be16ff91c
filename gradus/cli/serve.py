"""`gradus serve`: a model behind the OpenAI-compatible HTTP API."""

import argparse
import sys
from typing import Any

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.server.run import base_url, bind, how_to_try, preload
from gradus.server.run import run as run_server
from gradus.server.settings import ServerSettings
from gradus.text.reply.reply_format import REASONING_PARSERS, TOOL_CALL_PARSERS, choose_format

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
    _add_reply_arguments(parser.add_argument_group("tool calls and reasoning"))
    group.add_argument("--allow-origin", action="append", default=[], metavar="URL", help="CORS; repeatable")


def _add_reply_arguments(group: Any) -> None:
    group.add_argument(
        "--tool-call-parser",
        default="auto",
        choices=TOOL_CALL_PARSERS,
        help="how the model writes calls (default: auto, what its chat template shows)",
    )
    group.add_argument(
        "--reasoning-parser",
        default="auto",
        choices=REASONING_PARSERS,
        help="how it marks its reasoning (default: auto, what its chat template shows)",
    )
    group.add_argument(
        "--enable-auto-tool-choice",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let the model decide whether to call a tool (default: on)",
    )


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
    reply_format = choose_format(
        runtime.tokenizer.chat_template,
        args.tool_call_parser,
        args.reasoning_parser,
        auto_tool_choice=args.enable_auto_tool_choice,
    )
    name = args.served_model_name or runtime.source.name
    service = Service(engine, runtime.inputs, name, reply_format)
    message = how_to_try(base_url(listener), service.model_name)
    try:
        run_server(service, settings, listener, on_ready=lambda: print(message, flush=True))
    finally:
        runtime.close()
    return 0
