"""`gradus bench compare A.json B.json`: what changed between two documents, and whether it got worse."""

import argparse
from pathlib import Path

from gradus.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, metavar="A.json")
    parser.add_argument("after", type=Path, metavar="B.json")
    parser.add_argument(
        "--threshold",
        type=float,
        default=5.0,
        metavar="PERCENT",
        help="how much worse a figure may be (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.threshold < 100:
        raise ConfigError(f"threshold is {args.threshold:g}; it must be at least 0 and below 100")
    from gradus.bench.compare import Change, compare, comparison_evidence
    from gradus.bench.evidence import read_evidence
    from gradus.cli.bench_output import finish, print_table

    def cells(change: Change) -> list[str]:
        interval = change.ratio.interval
        sure = "-" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}"
        verdict = "WORSE" if change.is_worse(threshold) else ""
        return [change.side, change.figure, f"{change.ratio.median:.3f}", sure, verdict]

    threshold = args.threshold / 100
    documents = [read_evidence(path) for path in (args.before, args.after)]
    changes = compare(*documents)
    print_table(("side", "figure", "ratio", "95 %", ""), [cells(change) for change in changes])
    print("A ratio above 1 says that the second document is better.")
    return finish(comparison_evidence((args.before, args.after), documents, changes, threshold), args)
