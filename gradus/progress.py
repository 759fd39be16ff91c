"""A progress bar for long work, shown only where standard error is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, total: int, show: bool) -> Iterator[Callable[[int, int], None]]:
    """Yields `report(num_done, num_tokens)`, both counted from the start."""
    if not (show and sys.stderr.isatty()):
        yield lambda num_done, num_tokens: None
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

        def report(num_done: int, num_tokens: int) -> None:
            elapsed = progress.tasks[task].elapsed or 0.0
            rate = f"{num_tokens / elapsed:,.0f} tokens/s" if elapsed > 0 else ""
            progress.update(task, completed=num_done, rate=rate)

        yield report
