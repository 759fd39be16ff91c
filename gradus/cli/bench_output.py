"""What the benches print alike: tables for people, claims that did not hold, and the last line."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gradus.bench.evidence import to_line
from gradus.cli import exit_codes


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; the first is left-aligned, numbers are right-aligned."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip(), flush=True)


def finish(document: Mapping[str, Any]) -> int:
    """Say which verifications failed, print the evidence, and give the exit code."""
    failed = [name for name, holds in document["verification"].items() if holds is False]
    for name in failed:
        print(f"not so: {name.replace('_', ' ')}", file=sys.stderr)
    print(to_line(document))
    return exit_codes.FAILED if failed else exit_codes.DONE
