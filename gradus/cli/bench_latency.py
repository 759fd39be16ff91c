"""`gradus bench latency`: how long one batch takes."""

import argparse
from typing import TYPE_CHECKING

from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.workload_args import bench_engine_config

if TYPE_CHECKING:
    from gradus.bench.engine_driver import DrivenRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("batch")
    for name, default, meaning in (
        ("batch-size", 8, "requests at once"),
        ("input-len", 32, "tokens of each prompt"),
        ("output-len", 128, "tokens that each generates"),
        ("num-iters", 10, "batches that are measured, one after another"),
        ("num-iters-warmup", 2, "batches before them that are left out"),
    ):
        group.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{meaning} (default: %(default)s)"
        )


def run(args: argparse.Namespace) -> int:
    config = bench_engine_config(args)
    from gradus.bench.latency import bench_latency
    from gradus.cli.bench_output import bench_progress, finish, print_steps, print_table

    print(
        f"{config.model}: batches of {args.batch_size} requests, {args.input_len} tokens in, "
        f"{args.output_len} out; {args.num_iters} iterations",
        flush=True,
    )
    with bench_progress(args.num_iters) as report:

        def note(driven: "DrivenRun") -> None:
            report(f"{driven.run.seconds:.3f} s")

        document = bench_latency(
            config,
            batch_size=args.batch_size,
            input_len=args.input_len,
            output_len=args.output_len,
            num_iters=args.num_iters,
            num_warm_ups=args.num_iters_warmup,
            on_run=note,
        )
    results = document["results"]
    rows = [("latency, mean", f"{1000 * results['mean_latency_seconds']:,.1f}")]
    print_table(("of a batch", "ms"), rows)
    print_steps(results)
    return finish(document, args)
