"""`gradus bench milestones`: from static batches to 4-bit weights, one step at a time."""

import argparse
from typing import Any

from gradus.cli.engine_args import add_engine_arguments, engine_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("measurement")
    group.add_argument(
        "--preset",
        default="milestones-cpu",
        metavar="NAME",
        help="the path's workload: milestones, or scaled down milestones-cpu (default: %(default)s)",
    )
    group.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    from gradus.bench.milestones import bench_milestones, find_path, fixed_settings, num_runs
    from gradus.cli.bench_output import bench_progress, finish
    from gradus.cli.bench_pair import check_free

    path = find_path(args.preset)
    check_free(args, fixed_settings(path), "the path of milestones")
    config = engine_config(args)
    workload = path.workload
    print(f"{config.model}, {workload.name}: {workload.summary}; {args.runs} rounds", flush=True)
    with bench_progress(num_runs(args.runs)) as report:
        document = bench_milestones(config, path, args.runs, report)
    results = document["results"]
    print_milestones(results["milestones"])
    print_steps(results["steps"])
    print_targets(results["published"])
    return finish(document, args)


def print_milestones(milestones: dict[str, Any]) -> None:
    from gradus.cli.bench_output import print_table
    from gradus.cli.bench_pair import show, show_ratio

    figures = {
        "output tok/s": "output_tokens_per_second",
        "TTFT ms": "ttft_seconds",
        "TPOT ms": "tpot_seconds",
        "longest gap ms": "longest_gap_seconds",
        "E2E P99 ms": "e2e_p99_seconds",
    }
    rows = []
    for name, found in milestones.items():
        cells = [
            show(figure, found[figure]["median"]) if figure in found else "-" for figure in figures.values()
        ]
        ratios = [
            show_ratio(found[to]["output_tokens_per_second"]) if to in found else "-"
            for to in ("to_the_one_before", "to_M1")
        ]
        memory = show("memory_bytes", found["memory_bytes"])
        rows.append([f"{name} {found['name']}", *cells, memory, f"{found['longest_context']:,}", *ratios])
    print_table(("", *figures, "memory MiB", "longest context", "tok/s to the one before", "to M1"), rows)


def print_steps(steps: dict[str, Any]) -> None:
    """Each step's gain on its own workload, beside its bound."""
    from gradus.cli.bench_pair import bound_line

    print("\nsteps on the workloads that show them, beside their bounds:")
    for name, step in steps.items():
        print(f"{name} {bound_line(step['bound']) if 'bound' in step else 'no bound: shapes do not tell it'}")


def print_targets(published: dict[str, Any]) -> None:
    """What others have published for the same steps."""
    from gradus.cli.bench_pair import label

    print(f"\npublished targets ({published['source']}):")
    for name, targets in published["targets"].items():
        for target in targets:
            least, most = target["least"], target["most"]
            wanted = f"{least:g}x" if least == most else f"{least:g}-{most:g}x"
            where = f" on {target['switch']}" if "switch" in target else ""
            verdict = "met" if target["is_met"] else f"not met: {target['differs']}"
            print(
                f"{name} {label(target['figure'])}{where}: {target['measured']:.2f}x of {wanted}, {verdict}"
            )
