"""What the benches print alike: tables for people, progress, claims that did not hold, and the last line."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradus.bench.evidence import to_line
from gradus.cli import exit_codes

if TYPE_CHECKING:
    from gradus.bench.rounds import Report


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the first is left-aligned, numbers are right-aligned."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip(), flush=True)


def print_steps(results: Mapping[str, Any]) -> None:
    """The latencies' percentiles and what the engine's steps did, of benches on the engine in process."""
    for name, values in results["percentiles"].items():
        shown = ", ".join(f"{key} {1000 * value:,.1f} ms" for key, value in values.items())
        print(f"{name.removesuffix('_seconds').upper():8}{shown}")
    utilization = results.get("utilization", {})
    for kind, totals in results["steps"].items():
        share = f", {utilization[kind]['median']:.0%} of the roofline" if kind in utilization else ""
        print(
            f"{kind:8}{totals['num_steps']:,} steps, {totals['seconds']:,.2f} s, "
            f"{totals['tokens_per_second']:,.1f} tok/s{share}"
        )


@contextmanager
def bench_progress(total: int) -> Iterator["Report"]:
    """A bar of `total` runs on standard error where that is a terminal, a line per run elsewhere.

    Yields a function that gets the name of each run that has ended.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        ended = iter(range(1, sys.maxsize))
        yield lambda name: print(f"{next(ended)} of {total}: {name}", file=sys.stderr, flush=True)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("warm-up", total=total)
        yield lambda name: progress.update(task, advance=1, description=name)


def finish(document: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Say what did not hold or repeat, print the evidence and write it to `--output`, give the exit code."""
    verification = document["verification"]
    _warn_of_spread(verification.get("repeats", {}))
    failed = [name for name, holds in verification.items() if holds is False]
    for name in failed:
        print(f"not so: {name.replace('_', ' ')}", file=sys.stderr)
    write(document, args.output)
    print(to_line(document))
    return exit_codes.FAILED if failed else exit_codes.DONE


def write(document: Mapping[str, Any], path: Path | None) -> None:
    """Keep the evidence in a file too, if there is to be one."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_line(document) + "\n", encoding="utf-8")


def _warn_of_spread(repeats: Mapping[str, Any]) -> None:
    """Loudly, since such figures mislead: the machine was busy with other things, or the runs are short."""
    if repeats.get("within") is not False:
        return
    print(
        f"\nNOT REPEATABLE: runs differ by more than {repeats['tolerance']:.0%} of their median",
        file=sys.stderr,
    )
    for name, deviation in repeats["beyond"].items():
        print(f"  {name}: up to {deviation:.0%}", file=sys.stderr)
