"""`gradus bench peers`: Gradus against other engines, each with the interpreter of its own environment."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradus.errors import ConfigError

if TYPE_CHECKING:
    from gradus.bench.peers.row_result import RowResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="what Gradus loads: a directory, dummy:NAME, ...")
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="DIR",
        help="the same model in the peers' formats (benchmarks/make_peer_weights.py)",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="llama.cpp, llama.cpp-server, openvino, vllm or transformers, and its interpreter; repeatable",
    )
    parser.add_argument(
        "--rows",
        default="decode-4bit,ttft,reference",
        metavar="NAMES",
        help="comma-separated, or all (default: %(default)s)",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="of all rows; fewer rounds are measured where it is short; inf: none (default: %(default)g)",
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    if args.rounds < 1 or args.threads < 1:
        raise ConfigError(f"rounds is {args.rounds}, threads {args.threads}; both must be 1 or more")
    if not args.time_limit > 0:
        raise ConfigError(f"time_limit is {args.time_limit:g} minutes; it must be more than 0, such as 10")
    if not args.weights.is_dir():
        raise ConfigError(
            f"weights is {args.weights}, which is no folder; benchmarks/make_peer_weights.py makes one"
        )
    from gradus.bench.peers.compare import bench_peers
    from gradus.bench.peers.rows import find_rows
    from gradus.bench.peers.sides import Environment
    from gradus.cli.bench_output import bench_progress, finish, print_table, write
    from gradus.models.outline import outline_model

    rows = find_rows(args.rows)
    environment = Environment(
        model=args.model,
        weights=args.weights,
        interpreters=dict(_interpreter(text) for text in args.peer),
        num_threads=args.threads,
    )
    vocab_size = outline_model(args.model).config.vocab_size
    cells: list[list[str]] = []
    document: dict[str, Any] = {}

    def note(result: "RowResult", so_far: dict[str, Any]) -> None:
        cells.extend(_table_rows(result))
        document.update(so_far)
        write(so_far, args.output)

    with bench_progress(sum(row.num_rounds(args.rounds) for row in rows)) as report:
        limit = 60 * args.time_limit
        bench_peers(environment, vocab_size, rows, args.rounds, report, on_row=note, time_limit=limit)
    print_table(("row", "figure", "rounds", "Gradus", "peer", "its figure", "ratio", "95 %", "goal"), cells)
    for what, reason in document["verification"].get("absent", {}).items():
        print(f"not measured: {what}: {reason}")
    return finish(document, args)


def _interpreter(text: str) -> tuple[str, str]:
    name, has_path, path = text.partition("=")
    if not has_path or not Path(path).exists():
        raise ConfigError(f"--peer is {text!r}; it must be NAME=PYTHON with an interpreter that exists")
    return name, path


def _table_rows(result: "RowResult") -> list[list[str]]:
    found = result.as_dict()
    sides, ratios = found["sides"], found.get("ratios", {})
    row = result.row
    ours = _figure(row.figure, sides.get(row.ours.label))
    cells = []
    for peer in row.peers:
        ratio = ratios.get(peer.label)
        shown = (f"{ratio['median']:.2f}", _interval(ratio.get("interval_95"))) if ratio else ("-", "-")
        theirs = _figure(row.figure, sides.get(peer.label))
        measured = [_unit(row.figure), str(result.num_rounds), ours, peer.label, theirs]
        cells.append([row.name, *measured, *shown, f"{row.goal:.1f}"])
    return cells


def _unit(figure: str) -> str:
    if figure == "peak_memory_bytes":
        return "peak GB"
    return "tok/s" if figure.endswith("per_second") else figure.replace("_seconds", " ms")


def _figure(figure: str, values: dict[str, float] | None) -> str:
    if values is None:
        return "-"
    median = values["median"]
    if figure == "peak_memory_bytes":
        return f"{median / 1e9:.2f}"
    return f"{median:,.1f}" if figure.endswith("per_second") else f"{1000 * median:,.1f}"


def _interval(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.2f}-{interval[1]:.2f}"
