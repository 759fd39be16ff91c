"""`gradus bench accuracy`: what lossy weights, KV caches and activations cost."""

import argparse
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", default="demo", help="demo, or a directory with a held_out.jsonl (default: demo)"
    )
    group = parser.add_argument_group("measurement")
    group.add_argument("--kinds", metavar="NAMES", help="comma-separated (default: all)")
    group.add_argument(
        "--questions",
        type=int,
        metavar="N",
        help="a sample of so many, evenly over the categories (default: all)",
    )
    group.add_argument("--threads", type=int, metavar="N", help="default: the CPUs it may use")


def run(args: argparse.Namespace) -> int:
    from gradus.bench.accuracy.compare import bench_accuracy
    from gradus.bench.accuracy.kinds import find_kinds
    from gradus.cli.bench_output import bench_progress, finish, print_table

    kinds = find_kinds(args.kinds)
    print(f"{args.model}: {len(kinds)} kinds, {args.questions or 'all'} questions", flush=True)
    with bench_progress(len(kinds) + 1) as report:
        document = bench_accuracy(args.model, kinds, args.questions, args.threads, report)
    results = document["results"]
    head = ("kind", "weights", "KV", "activations", "MB", "perplexity, answers", "all text", "right", "bound")
    print_table(head, [_cells(name, found, results["bounds"]) for name, found in results["kinds"].items()])
    return finish(document, args)


def _cells(name: str, found: dict[str, Any], bounds: dict[str, Any]) -> list[str]:
    perplexity, ratio = found["perplexity"], found["perplexity_over_f32"]
    shown = [f"{perplexity[part]:.4f} ({ratio[part] - 1:+.2%})" for part in perplexity]
    low, high = found["accuracy_interval_95"]
    right = f"{found['accuracy']:.1%} ({low:.0%} - {high:.0%})"
    size = f"{found['weight_bytes'] / 1e6:.2f}" if "weight_bytes" in found else "-"
    return [
        name,
        found["weights"],
        found["kv_cache"],
        found["activations"],
        size,
        *shown,
        right,
        _bound(bounds.get(name)),
    ]


def _bound(bound: dict[str, Any] | None) -> str:
    if bound is None:
        return "-"
    margin = max(bound["ratios"].values())
    return f"{margin:.4f} of {bound['at_most']:g} x {bound['against']}"
