"""`gradus bench throughput`: a workload on the engine in this process."""

import argparse
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.workload_args import add_workload_arguments, bench_engine_config, workload_of

if TYPE_CHECKING:
    from gradus.bench.engine_driver import DrivenRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_workload_arguments(parser)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--goodput",
        nargs="+",
        default=[],
        metavar="METRIC:MS",
        help="count requests that kept these limits, in milliseconds, such as ttft:200 tpot:50 e2el:5000",
    )
    parser.add_argument(
        "--utilization",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure this machine's ceilings first, and report which share of them the steps reach",
    )


def run(args: argparse.Namespace) -> int:
    config = bench_engine_config(args)
    from gradus.bench.goodput import objectives
    from gradus.bench.throughput import bench_throughput
    from gradus.cli.bench_output import bench_progress, finish, print_steps, print_table

    workload, limits = workload_of(args), objectives(args.goodput)
    print(f"{config.model}, {workload.name}: {workload.summary}; {args.runs} runs", flush=True)
    runs: list[list[str]] = []
    with bench_progress(args.runs) as report:

        def note(driven: "DrivenRun") -> None:
            runs.append(_cells(str(len(runs) + 1), driven.run.figures()))
            report(f"run {len(runs)}")

        document = bench_throughput(
            config, workload, args.runs, note, objectives=limits, with_utilization=args.utilization
        )
    results = document["results"]
    medians = {name: value["median"] for name, value in results.items() if "median" in value}
    header = ("run", "requests/s", "output tok/s", "total tok/s", "TTFT ms", "TPOT ms")
    print_table(header, [*runs, _cells("median", medians)])
    _print_more(results)
    print_steps(results)
    return finish(document, args)


def _cells(name: str, figures: dict[str, float]) -> list[str]:
    tpot = figures.get("tpot_seconds")
    return [
        name,
        f"{figures['requests_per_second']:,.2f}",
        f"{figures['output_tokens_per_second']:,.1f}",
        f"{figures['total_tokens_per_second']:,.1f}",
        f"{1000 * figures['ttft_seconds']:,.1f}",
        "-" if tpot is None else f"{1000 * tpot:,.2f}",
    ]


def _print_more(results: dict[str, Any]) -> None:
    """What there is only in some workloads: classes of prompts, limits, a prefix cache."""
    classes = results["ttft_seconds_by_prompt"]
    if len(classes) > 1:
        print("TTFT by prompt tokens:")
        for name, values in classes.items():
            words = name.replace("_", " ")
            print(f"  {words}: p50 {1000 * values['p50']:,.1f} ms of {values['num_requests']} requests")
    if "good_requests_per_second" in results:
        print(f"goodput {results['good_requests_per_second']['median']:,.2f} requests/s")
    counters = results["counters"]
    if "prefix_cache_hit_rate" in counters:
        print(
            f"prefix cache: {counters['num_cached_prompt_tokens']:,} of {counters['num_prompt_tokens']:,} "
            f"prompt tokens found, {counters['prefix_cache_hit_rate']:.1%}"
        )
