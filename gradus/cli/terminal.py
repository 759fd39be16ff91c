"""Colours on terminals that have them and where nobody asked for none; plain text everywhere else."""

import os
import sys
from typing import TextIO

_RESET = "\x1b[0m"
_CODES = {"bold": "\x1b[1m", "dim": "\x1b[2m", "red": "\x1b[31m", "cyan": "\x1b[36m"}


def has_colours(stream: TextIO) -> bool:
    """Whether escape sequences may be written to `stream`. Source of NO_COLOR: no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style, `bold`, `dim`, `red` or `cyan`, for `stream` (standard output)."""
    return f"{_CODES[style]}{text}{_RESET}" if has_colours(stream or sys.stdout) else text


def prompt(text: str) -> str:
    """What `input` shows: coloured, and marked so that readline does not count the colours as characters."""
    if not sys.stdin.isatty():
        return ""  # nobody types
    if not has_colours(sys.stdout):
        return text
    return f"\x01{_CODES['cyan']}\x02{text}\x01{_RESET}\x02"
