"""`gradus serve`: a model behind the OpenAI-compatible HTTP API."""

import argparse

from gradus.cli.engine_args import add_engine_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("server")
    group.add_argument("--host", default="127.0.0.1", help="default: %(default)s, this machine only")
    group.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    group.add_argument("--served-model-name", metavar="NAME", help="what clients call the model")
    group.add_argument("--max-queued-requests", type=int, default=1024, metavar="N")
    group.add_argument("--health-stall-seconds", type=float, default=60.0, metavar="S")
