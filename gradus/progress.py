"""A progress bar for long work, shown only where standard error is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Measure = Callable[[], tuple[int, int]]
"""Gives the work done and the tokens generated so far."""


@contextmanager
def progress_bar(what: str, total: int, show: bool) -> Iterator[Callable[[Measure], None]]:
    """Yields `report(measure)`, which calls `measure` only where there is a bar to draw."""
    if not (show and sys.stderr.isatty()):
        yield lambda measure: None
        return
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
        task = progress.add_task(what, total=total, rate="")

        def report(measure: Measure) -> None:
            num_done, num_tokens = measure()
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = f"{num_tokens / elapsed:,.0f} tokens/s" if elapsed > 0 else ""
            progress.update(task, completed=num_done, rate=rate)

        yield report
