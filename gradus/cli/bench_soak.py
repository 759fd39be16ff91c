"""`gradus bench soak`: a server process under load of all kinds for a given time."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gradus.cli.durations import duration
from gradus.cli.engine_args import add_engine_arguments, engine_config

if TYPE_CHECKING:
    from gradus.bench.soak.load import Log

NUM_REPORTS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser, leave_out=("seed",))
    group = parser.add_argument_group("load")
    group.add_argument(
        "--duration",
        type=duration,
        default=60.0,
        metavar="TIME",
        help="such as 90, 10m or 1h (default: 60)",
    )
    group.add_argument(
        "--request-rate", type=float, default=10.0, metavar="X", help="per second (default: %(default)s)"
    )
    group.add_argument(
        "--max-concurrency", type=int, default=32, metavar="N", help="in flight (default: %(default)s)"
    )
    group.add_argument(
        "--seed",
        dest="load_seed",
        type=int,
        default=0,
        metavar="N",
        help="of what is drawn (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.soak.bench import bench_soak
    from gradus.bench.soak.load import SoakOptions
    from gradus.cli.bench_output import finish, print_table

    options = SoakOptions(
        duration=args.duration,
        request_rate=args.request_rate,
        max_concurrency=args.max_concurrency,
        seed=args.load_seed,
    )
    print(
        f"{config.model}: {options.duration:g} s of {options.request_rate:g} requests per second, "
        f"at most {options.max_concurrency} at a time",
        flush=True,
    )
    with _progress(options.duration) as note:
        document = bench_soak(config, options, note)
    results = document["results"]
    print_table(("kind", "requests", "p50 ms", "p90 ms", "p99 ms"), _latency_rows(results))
    print_table(("what", "value"), _trend_rows(results))
    for failure in results["failures"]:
        print(f"failed: {failure['kind']}: {failure['error']}")
    return finish(document, args)


@contextmanager
def _progress(duration: float) -> Iterator[Callable[["Log"], None]]:
    """Gets every look at the process, and shows one at each tenth of the time."""
    from gradus.cli.bench_output import bench_progress

    with bench_progress(NUM_REPORTS) as report:
        num_reported = 0

        def note(log: "Log") -> None:
            nonlocal num_reported
            seconds = log.samples[-1]["seconds"]
            if num_reported < min(NUM_REPORTS, int(seconds / duration * NUM_REPORTS)):
                num_reported += 1
                report(f"{seconds:,.0f} s, {log.num_sent:,} sent, {len(log.failures):,} failed")

        yield note


def _latency_rows(results: dict[str, Any]) -> list[list[str]]:
    return [
        [kind, f"{row['count']:,}", *(f"{1000 * row[name]:,.1f}" for name in ("p50", "p90", "p99"))]
        for kind, row in results["latency_seconds"].items()
    ]


def _trend_rows(results: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("requests", f"{results['num_sent']:,}, of which {results['num_failed']:,} failed")]
    units = {"resident_bytes": ("memory", 2**20, " MiB"), "open_files": ("open files", 1, "")}
    units |= {"threads": ("threads", 1, "")}
    for name, slope in results["growth"].items():
        title, factor, unit = units[name]
        end = results["last_sample"].get(name, 0) / factor
        shown = f"{slope['per_hour'] / factor:+,.1f}{unit} per hour"
        if "per_hour_low" in slope:
            low, high = (slope[f"per_hour_{side}"] / factor for side in ("low", "high"))
            shown += f" (95 %: {low:+,.1f} to {high:+,.1f})"
        rows.append((title, f"{end:,.0f}{unit} in the end, {shown}"))
    if drift := results.get("latency_drift"):
        low, high = drift["all"]["interval_95"]
        shown = f"{drift['all']['ratio']:.2f} (95 %: {low:.2f} to {high:.2f})"
        rows.append(("latency, last third over first", shown))
    return rows
