"""`gradus bench startup`: first starts and cached ones, in process and served."""

import argparse
from collections.abc import Mapping
from typing import Any

from gradus.cli.engine_args import add_engine_arguments, engine_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("measurement")
    group.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.startup import CACHED, FIRST, KINDS, bench_startup
    from gradus.cli.bench_output import bench_progress, finish, print_table

    num_sides = len(KINDS) * len((FIRST, CACHED))
    print(f"{config.model}: {args.runs} first starts and {args.runs} cached ones of each kind", flush=True)
    with bench_progress(num_sides * (args.runs + 1)) as report:
        document = bench_startup(config, args.runs, report)
    starts = document["results"]["starts"]
    print_table(("ms", "ready", "first token"), [_cells(name, starts[name]) for name in starts])
    for name, figures in starts.items():
        _print_phases(name, figures)
    for kind, gain in document["results"]["cached_over_first"].items():
        print(f"{kind}: the cached start is ready {gain['ready_seconds']['median']:.2f} times as fast")
    return finish(document, args)


def _cells(name: str, figures: Mapping[str, Any]) -> list[str]:
    return [
        name,
        *(f"{1000 * figures[f'{part}_seconds']['median']:,.0f}" for part in ("ready", "first_token")),
    ]


def _print_phases(name: str, figures: Mapping[str, Any]) -> None:
    phases = {
        key: value for key, value in figures.items() if key not in ("ready_seconds", "first_token_seconds")
    }
    if phases:
        shown = ", ".join(
            f"{key.removesuffix('_seconds').replace('_', ' ')} {1000 * value['median']:,.0f}"
            for key, value in phases.items()
        )
        print(f"{name}, phases in ms: {shown}")
