"""Durations as people write them: `90`, `45s`, `10m`, `1h`."""

import argparse
import math

_UNITS = {"s": 1, "m": 60, "h": 3600}


def duration(text: str) -> float:
    """Seconds; a number without a unit is seconds. For argparse's `type`.

    Raises:
        argparse.ArgumentTypeError: it is no duration; says what would be.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    try:
        seconds = float(number) * _UNITS[unit]
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90, 45s, 10m or 1h")
    return seconds
