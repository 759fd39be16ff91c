"""`gradus bench roofline`: the operations of a step against this machine's ceilings."""

import argparse
from typing import TYPE_CHECKING

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.cli.number_list import number_list
from gradus.errors import ConfigError

if TYPE_CHECKING:
    from gradus.bench.ceilings import Ceilings
    from gradus.bench.roofline import OpTime, StepTime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("steps")
    group.add_argument(
        "--streams", default="1,8,16,64", metavar="N,N", help="decode steps of so many (default: %(default)s)"
    )
    group.add_argument(
        "--context", type=int, default=128, metavar="TOKENS", help="of each (default: %(default)s)"
    )
    group.add_argument(
        "--prefill",
        default="512",
        metavar="N,N",
        help="prompt steps of so many tokens (default: %(default)s)",
    )
    group.add_argument("--repetitions", type=int, default=9, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    streams, prefills = number_list("streams", args.streams), number_list("prefill", args.prefill)
    if args.context < 1:
        raise ConfigError(f"context is {args.context}; it must be 1 or more")
    from gradus.bench.roofline import bench_roofline
    from gradus.bench.step_batches import decode_shape, prefill_shape
    from gradus.cli.bench_output import bench_progress, finish

    shapes = [decode_shape(count, args.context) for count in streams]
    shapes += [prefill_shape(count) for count in prefills]
    print(f"{config.model}: {args.repetitions} repetitions of each step", flush=True)
    ceilings: list[Ceilings] = []
    steps: list[StepTime] = []
    with bench_progress(1 + len(shapes)) as report:

        def note_ceilings(found: "Ceilings") -> None:
            ceilings.append(found)
            report("ceilings")

        def note_step(found: "StepTime") -> None:
            steps.append(found)
            report(found.shape.name)

        document = bench_roofline(config, shapes, args.repetitions, note_ceilings, note_step)
    _print_ceilings(ceilings[0])
    for step in steps:
        _print_step(step)
    return finish(document, args)


def _print_ceilings(ceilings: "Ceilings") -> None:
    from gradus.cli.bench_output import print_table

    threads = sorted(ceilings.reads)
    rows = []
    for kind in sorted({kind for kind, _ in ceilings.macs}):
        cells = [f"{max(ceilings.macs[kind, n]) / 1e9:,.1f}" for n in threads]
        rows.append([f"multiply-add {kind}, 1e9/s", *cells])
    rows.append(["memory read, GB/s", *(f"{max(ceilings.reads[n]) / 1e9:,.1f}" for n in threads)])
    print_table(("ceiling", *(f"{n} thread{'s' * (n > 1)}" for n in threads)), rows)


def _print_step(step: "StepTime") -> None:
    from gradus.cli.bench_output import print_table

    seconds = sorted(step.seconds)[len(step.seconds) // 2]
    print(f"\n{step.shape.name}: {1000 * seconds:.2f} ms, {step.shape.num_tokens / seconds:,.1f} tok/s")
    header = ("operation", "count", "ms", "share", "GMAC/s", "GB/s", "bound", "of bound")
    print_table(header, [_cells(operation) for operation in step.operations])


def _cells(operation: "OpTime") -> list[str]:
    values = operation.as_dict()
    macs, read, of_bound = (values[name] for name in ("macs_per_second", "bytes_per_second", "of_bound"))
    return [
        values["name"],
        str(values["count"]),
        f"{1000 * values['seconds']:.3f}",
        f"{values['share']:.1%}",
        "-" if macs is None else f"{macs / 1e9:.1f}",
        "-" if read is None else f"{read / 1e9:.1f}",
        values["bound"] or "-",
        "-" if of_bound is None else f"{of_bound:.0%}",
    ]
