"""`gradus bench grpc`: streaming over gRPC, from a server process of its own."""

import argparse
from typing import Any

from gradus.cli.durations import duration
from gradus.cli.engine_args import add_engine_arguments, engine_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("streams")
    group.add_argument("--streams", type=int, default=8, metavar="N", help="at once (default: %(default)s)")
    group.add_argument(
        "--tokens", type=int, default=256, metavar="N", help="of each stream (default: %(default)s)"
    )
    group.add_argument(
        "--runs", type=int, default=5, metavar="N", help="of these streams (default: %(default)s)"
    )
    group.add_argument(
        "--pairs",
        type=int,
        default=100,
        metavar="N",
        help="requests with and without the buffer (default: %(default)s)",
    )
    group.add_argument("--connections", type=int, default=100, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--duration",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="how long they stream, such as 90, 10m or 1h (default: one stream of each)",
    )


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.grpc.bench import NUM_PARTS, GrpcOptions, bench_grpc
    from gradus.cli.bench_output import bench_progress, finish, print_table

    options = GrpcOptions(
        num_streams=args.streams,
        num_tokens=args.tokens,
        num_runs=args.runs,
        num_pairs=args.pairs,
        num_connections=args.connections,
        duration=args.duration,
    )
    time = f"for {options.duration:g} s" if options.duration else "one stream each"
    print(
        f"{config.model}: {options.num_runs} runs of {options.num_streams} streams of {options.num_tokens} "
        f"tokens, {options.num_pairs} pairs, {options.num_connections} connections {time}",
        flush=True,
    )
    with bench_progress(options.num_runs + NUM_PARTS) as report:
        document = bench_grpc(config, options, report)
    print_table(("what", "value"), _rows(document["results"]))
    return finish(document, args)


def _rows(results: dict[str, Any]) -> list[tuple[str, str]]:
    per_token, first = results["messages_per_token"], results["first_message_ms"]
    many = results["connections"]
    rows = [
        (
            "messages per token",
            f"{per_token['median']:.3f} ({per_token['min']:.3f} to {per_token['max']:.3f})",
        ),
        ("first message, buffered", _quantiles(first["buffered"])),
        ("first message, unbuffered", _quantiles(first["unbuffered"])),
        ("what the buffer adds to it", _quantiles(results["first_message_added_ms"])),
        ("first text's time in the buffer", _quantiles(results["first_text_in_buffer_ms"])),
        ("connections", f"{many['num_connections']:,}"),
        ("their streams", f"{many['num_streams']:,} in {many['seconds']:,.1f} s"),
        ("their tokens", f"{many['num_tokens']:,}, {many['tokens_per_second']:,.1f} per second"),
        ("streams that failed", f"{many['num_failed']:,}"),
        ("with a gap in the index", f"{many['num_without_every_index']:,}"),
        ("without exactly one end", f"{many['num_without_one_end']:,}"),
        ("of another text than HTTP's", f"{many['num_texts_that_differ']:,}"),
    ]
    if "resident_bytes" in results["server_after"]:
        before, after = (results[f"server_{when}"]["resident_bytes"] / 2**20 for when in ("before", "after"))
        rows.append(("server's resident memory", f"{before:,.0f} MiB before, {after:,.0f} MiB after"))
    return rows


def _quantiles(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:,.2f}" for name, value in milliseconds.items()) + " ms"
