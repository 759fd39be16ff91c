"""`gradus bench memory`: what a model takes, by the engine's own books and by the operating system."""

import argparse
from typing import Any

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.cli.number_list import number_list
from gradus.errors import counted

_COLUMNS = (  # a head and the figure under it
    ("weights", "weights_bytes"),
    ("KV used", "kv_used_bytes"),
    ("activations, at most", "activations_reserved_bytes"),
    ("interpreter", "interpreter_bytes"),
    ("sum", "explained_bytes"),
    ("peak by system", "system_peak_bytes"),
    ("after loading", "system_loaded_bytes"),
    ("KV reserved", "kv_reserved_bytes"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("workload")
    group.add_argument("--streams", default="1,8", metavar="N,N", help="default: %(default)s")
    group.add_argument(
        "--lengths",
        default="256,1024",
        metavar="N,N",
        help="tokens of a stream, prompt and output (default: %(default)s)",
    )
    group.add_argument(
        "--output-len", type=int, default=16, metavar="N", help="of them output (default: %(default)s)"
    )
    group.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.memory import MemorySettings, bench_memory
    from gradus.cli.bench_output import bench_progress, finish, print_table

    settings = MemorySettings(
        streams=number_list("streams", args.streams),
        lengths=number_list("lengths", args.lengths),
        output_len=args.output_len,
        num_runs=args.runs,
    )
    workloads = settings.workloads()
    print(
        f"{config.model}: streams x tokens of each: {', '.join(work.name for work in workloads)}; "
        f"each in a fresh process, {counted(settings.num_runs, 'time')}",
        flush=True,
    )
    with bench_progress(len(workloads) * settings.num_runs) as report:
        document = bench_memory(config, settings, report)
    print_table(("MiB", *(head for head, _ in _COLUMNS)), [_cells(*item) for item in _items(document)])
    return finish(document, args)


def _items(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(document["results"].items())


def _cells(name: str, figures: dict[str, Any]) -> list[str]:
    return [name, *(f"{figures[figure]['median'] / 2**20:,.1f}" for _, figure in _COLUMNS)]
