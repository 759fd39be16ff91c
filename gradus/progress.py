"""Progress of long work on standard error: a bar on a terminal; elsewhere nothing, or a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Measure = Callable[[], tuple[int, int]]
"""Gives the work done and the tokens generated so far."""

Report = Callable[[Measure], None]


@contextmanager
def progress_bar(
    what: str, total: int, show: bool, *, num_done: int = 0, line_seconds: float | None = None
) -> Iterator[Report]:
    """Yields `report(measure)`, which calls `measure` only where there is something to show.

    `num_done` of the `total` were done before. With `line_seconds`, a line so often replaces the bar where
    standard error is no terminal.
    """
    if show and sys.stderr.isatty():
        with _bar(what, total, num_done) as report:
            yield report
    elif show and line_seconds is not None:
        yield _Lines(what, total, num_done, line_seconds).report
    else:
        yield lambda measure: None


@contextmanager
def _bar(what: str, total: int, num_done: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, completed=num_done, rate="")

        def report(measure: Measure) -> None:
            num_done, num_tokens = measure()
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = f"{num_tokens / elapsed:,.0f} tokens/s" if elapsed > 0 else ""
            progress.update(task, completed=num_done, rate=rate)

        yield report


class _Lines:
    """A line of progress so often, for logs."""

    def __init__(self, what: str, total: int, num_done: int, seconds: float) -> None:
        self._what = what
        self._total = total
        self._num_before = num_done
        self._seconds = seconds
        self._start = self._last = time.monotonic()

    def report(self, measure: Measure) -> None:
        now = time.monotonic()
        if now - self._last < self._seconds:
            return
        self._last = now
        num_done, num_tokens = measure()
        print(self.line(num_done, num_tokens, now - self._start), file=sys.stderr, flush=True)

    def line(self, num_done: int, num_tokens: int, elapsed: float) -> str:
        num_new = num_done - self._num_before
        left = f", {duration(elapsed / num_new * (self._total - num_done))} left" if num_new else ""
        rate = f", {num_tokens / elapsed:,.0f} tokens/s" if elapsed > 0 else ""
        return f"{num_done:,} of {self._total:,} {self._what}{rate}{left}"


def duration(seconds: float) -> str:
    """For people: "42 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
