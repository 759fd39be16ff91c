"""`gradus bench throughput`: a workload on the engine in this process."""

import argparse
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.cli.workload_args import add_workload_arguments, workload_of

if TYPE_CHECKING:
    from gradus.bench.engine_driver import DrivenRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_workload_arguments(parser)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.throughput import bench_throughput
    from gradus.cli.bench_output import finish, print_table

    workload = workload_of(args)
    print(
        f"{config.model}, {workload.name}: {workload.summary}; {args.runs} runs",
        flush=True,
    )
    runs: list[list[str]] = []

    def note(driven: "DrivenRun") -> None:
        runs.append(_cells(str(len(runs) + 1), driven.run.figures()))

    document = bench_throughput(config, workload, args.runs, note)
    results = document["results"]
    medians = {name: value["median"] for name, value in results.items() if "median" in value}
    print_table(
        ("run", "output tok/s", "total tok/s", "TTFT ms", "TPOT ms"), [*runs, _cells("median", medians)]
    )
    _print_latencies(results["percentiles"])
    _print_steps(results["steps"])
    return finish(document, args)


def _cells(name: str, figures: dict[str, float]) -> list[str]:
    tpot = figures.get("tpot_seconds")
    return [
        name,
        f"{figures['output_tokens_per_second']:,.1f}",
        f"{figures['total_tokens_per_second']:,.1f}",
        f"{1000 * figures['ttft_seconds']:,.1f}",
        "-" if tpot is None else f"{1000 * tpot:,.2f}",
    ]


def _print_latencies(percentiles: dict[str, dict[str, float]]) -> None:
    for name, values in percentiles.items():
        shown = ", ".join(f"{key} {1000 * value:,.1f} ms" for key, value in values.items())
        print(f"{name.removesuffix('_seconds').upper():5} {shown}")


def _print_steps(steps: dict[str, dict[str, Any]]) -> None:
    for kind, totals in steps.items():
        print(
            f"{kind:8}{totals['num_steps']:,} steps, {totals['seconds']:,.2f} s, "
            f"{totals['tokens_per_second']:,.1f} tok/s"
        )
