"""`gradus bench scaling`: threads of one engine, and engines beside each other."""

import argparse
from typing import Any

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.cli.number_list import number_list
from gradus.errors import ConfigError

_LENGTHS = ("input-len", "output-len", "concurrency")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("workload")
    group.add_argument(
        "--counts", metavar="N,N", help="of threads and of workers (default: powers of two up to the CPUs)"
    )
    group.add_argument(
        "--workload", default="reference", metavar="NAME", help="of one length (default: %(default)s)"
    )
    group.add_argument(
        "--num-requests", type=int, default=16, metavar="N", help="of the workload (default: %(default)s)"
    )
    for name in _LENGTHS:
        group.add_argument(f"--{name}", type=int, metavar="N", help="default: the workload's")
    group.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    if config.num_threads is not None:
        raise ConfigError(f"threads is {config.num_threads}, but threads are what is varied; give --counts")
    from gradus.bench.scaling import bench_scaling, default_counts, scales
    from gradus.bench.workloads.fixed import FixedWorkload
    from gradus.bench.workloads.registry import changed_workload
    from gradus.cli.bench_output import bench_progress, finish, print_table

    numbers = {name: getattr(args, name) for name in (length.replace("-", "_") for length in _LENGTHS)}
    workload = changed_workload(args.workload, num_requests=args.num_requests, **numbers)
    assert isinstance(workload, FixedWorkload)  # no other can be changed
    counts = default_counts() if args.counts is None else number_list("counts", args.counts)
    sides = scales(counts, workload)
    print(f"{config.model}: {workload.summary}; {args.runs} runs of {len(sides)} sides", flush=True)
    with bench_progress(len(sides) * (args.runs + 1)) as report:
        document = bench_scaling(config, workload, counts, args.runs, report)
    rows = [_cells(name, found) for name, found in document["results"].items()]
    print_table(("CPUs as", "scaling", "output tok/s", "speedup", "95 %", "efficiency"), rows)
    return finish(document, args)


def _cells(name: str, found: dict[str, Any]) -> list[str]:
    cells = [name, found["kind"], f"{found['output_tokens_per_second']['median']:,.1f}"]
    if "speedup" not in found:
        return [*cells, "1", "-", "-"]
    speedup = found["speedup"]
    bounds = speedup.get("interval_95")
    interval = "-" if bounds is None else f"{bounds[0]:.2f} - {bounds[1]:.2f}"
    return [*cells, f"{speedup['median']:.2f}", interval, f"{found['efficiency']['median']:.0%}"]
