"""`gradus serve`: a model behind the OpenAI-compatible HTTP API.

What it is told by flags, by the environment and by a file is one schema: `EngineConfig` and `ServerSettings`.
"""

import argparse
import logging
import os
from dataclasses import fields
from typing import Any

from gradus.cli import exit_codes
from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.flags import add_flags, given_flags
from gradus.cli.sources import Given, merge, read_environment, read_file, show
from gradus.config import EngineConfig
from gradus.options import settings_of
from gradus.server.observe.logs import configure_logging
from gradus.server.run import base_url, bind, how_to_try, preload
from gradus.server.run import run as run_server
from gradus.server.settings import ServerSettings

logger = logging.getLogger(__name__)

SETTINGS = settings_of(EngineConfig) | settings_of(ServerSettings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_flags(parser, settings_of(ServerSettings).values())
    group = parser.add_argument_group("configuration")
    group.add_argument("--config", metavar="FILE", help="a YAML file of settings (default: $GRADUS_CONFIG)")
    group.add_argument(
        "--show-config", action="store_true", help="print every setting and its source, and end"
    )


def run(args: argparse.Namespace) -> int:
    values = configuration(args)
    config, settings = _build(EngineConfig, values), _build(ServerSettings, values)
    if args.show_config:
        print(show(SETTINGS, values))
    else:
        _serve(config, settings)
    return exit_codes.DONE


def _serve(config: EngineConfig, settings: ServerSettings) -> None:
    """Load the model and serve it until the process is told to stop. What can be wrong is checked first."""
    from gradus.server.security.keys import Keys
    from gradus.server.security.tls import TlsFiles

    configure_logging(settings.log_level, settings.log_format)
    keys, tls = Keys.load(settings), TlsFiles.of(settings)
    listener = bind(settings)
    preload(settings)

    from gradus.engine.async_engine import AsyncEngine
    from gradus.runtime import load_runtime
    from gradus.server.service import Service

    runtime = load_runtime(config)
    logger.info(runtime.summary)
    engine = AsyncEngine(
        runtime.core,
        max_queued_requests=settings.max_num_queued_reqs,
        max_queued_tokens=settings.max_num_queued_tokens,
    )
    name, *aliases = settings.served_model_name or (runtime.source.name,)
    service = Service(engine, runtime.inputs, name, settings, keys, aliases=aliases)
    url = base_url(listener, "http" if tls is None else "https")
    message = how_to_try(url, service.model_name, settings)

    def on_ready(grpc_addresses: list[str]) -> None:
        print(message, *(f"gRPC is served at {address}" for address in grpc_addresses), sep="\n", flush=True)

    try:
        run_server(service, settings, listener, on_ready)
    finally:
        runtime.close()


def configuration(args: argparse.Namespace) -> dict[str, Given]:
    """Every setting's value and where it came from.

    Raises:
        ConfigError: a name or a value in one of the sources does not work.
    """
    path = args.config or os.environ.get("GRADUS_CONFIG")
    return merge(
        SETTINGS,
        given_flags(args, SETTINGS),
        read_environment(SETTINGS, os.environ),
        read_file(SETTINGS, path) if path else {},
    )


def _build(kind: type, values: dict[str, Given]) -> Any:
    return kind(**{f.name: values[f.name].value for f in fields(kind) if f.name in values})
