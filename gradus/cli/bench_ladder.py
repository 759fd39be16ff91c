"""`gradus bench ladder`: what each layer of the product costs, from the kernels to the network."""

import argparse
from pathlib import Path
from typing import Any

from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.workload_args import add_workload_arguments, bench_engine_config, workload_of
from gradus.errors import ConfigError

_PEER = "llama.cpp"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_workload_arguments(parser)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--rungs", metavar="LIST", help="such as 0,4-8; 0 is always measured (default: all)")
    peer = parser.add_argument_group("outside reference")
    peer.add_argument(
        "--peer", metavar="llama.cpp=PYTHON", help="run llama.cpp's raw llama_decode loop beside"
    )
    peer.add_argument(
        "--peer-weights", type=Path, metavar="FILE.gguf", help="what it loads (default: the model as GGUF)"
    )


def run(args: argparse.Namespace) -> int:
    config, peer_python = bench_engine_config(args), _interpreter(args.peer)
    if config.enable_prefix_caching:
        raise ConfigError(
            "prefix caching is on, but every rung runs the same prompts, so only the first would "
            "compute them; leave --prefix-caching out"
        )
    from gradus.bench.ladder.ladder import bench_ladder
    from gradus.bench.ladder.peer import PeerChoice
    from gradus.bench.ladder.rungs import find_rungs
    from gradus.cli.bench_output import bench_progress, finish

    workload, entries = workload_of(args), find_rungs(args.rungs)
    peer = None if peer_python is None else PeerChoice(peer_python, args.peer_weights)
    print(
        f"{config.model}, {workload.name}: {workload.summary}; {args.runs} runs of {len(entries)} rungs",
        flush=True,
    )
    with bench_progress((args.runs + 1) * (len(entries) + (peer is not None))) as report:
        document = bench_ladder(config, workload, args.runs, report, entries=entries, peer=peer)
    _print(document["results"])
    return finish(document, args)


def _interpreter(text: str | None) -> str | None:
    if text is None:
        return None
    name, _, path = text.partition("=")
    if name != _PEER or not Path(path).is_file():
        raise ConfigError(f"--peer is {text!r}; it must be {_PEER}=PYTHON with an interpreter that exists")
    return path


def _print(results: dict[str, Any]) -> None:
    from gradus.cli.bench_output import print_table

    header = ("rung", "tok/s", "loss to 0", "95 %", "to below", "95 %", "steps", "ms/step", "CPU ms")
    rows = [_cells(rung) for rung in results["rungs"]]
    if "reference" in results:
        reference = results["reference"]
        median = reference["tokens_per_second"]["median"]
        rows.append([f"{reference['name']}: the outside reference", f"{median:,.1f}", *["-"] * 7])
    print_table(header, rows)


def _cells(rung: dict[str, Any]) -> list[str]:
    figures = {
        name: value["median"] for name, value in rung.items() if isinstance(value, dict) and "median" in value
    }
    return [
        f"{rung['number']} {rung['name']}: {rung['adds']}",
        f"{figures['tokens_per_second']:,.1f}",
        *_loss(rung.get("loss_to_rung_0")),
        *_loss(rung.get("loss_to_rung_below")),
        f"{figures['num_steps']:,.0f}",
        f"{1000 * figures['seconds_per_step']:,.3f}",
        f"{1000 * figures['cpu_seconds_per_step']:,.3f}",
    ]


def _loss(loss: dict[str, Any] | None) -> tuple[str, str]:
    if loss is None:
        return "-", "-"
    interval = loss.get("interval_95")
    shown = "-" if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"
    return f"{loss['median']:.1%}", shown
