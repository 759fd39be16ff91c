"""`gradus bench pair`: one switch of the engine on against off."""

import argparse
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import add_engine_arguments, engine_config
from gradus.errors import ConfigError

if TYPE_CHECKING:
    from gradus.bench.pairs.switches import Switch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("switch", metavar="SWITCH", help="`list` names them all")
    add_engine_arguments(parser)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="rounds (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    from gradus.bench.pairs.switches import find_switch

    if args.switch == "list":
        return _list()
    switch = find_switch(args.switch)
    check_free(args, switch.settings, f"the switch {switch.name}")
    config = engine_config(args)
    from gradus.bench.pairs.compare import bench_pair
    from gradus.cli.bench_output import bench_progress, finish

    print(f"{config.model}, {switch.name}: {switch.question}", flush=True)
    print(f"{switch.workload.name}: {switch.workload.summary}; {args.runs} rounds", flush=True)
    with bench_progress((args.runs + 1) * len(switch.sides)) as report:
        document = bench_pair(config, switch, args.runs, report)
    print_pair(switch, document["results"])
    return finish(document, args)


def check_free(args: argparse.Namespace, settings: set[str], whose: str) -> None:
    """Raises:
    ConfigError: a flag was given for something that the bench itself sets.
    """
    for name in sorted(settings):
        if getattr(args, name, None) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag} was given, but {whose} sets {name} itself; leave the flag out")


def print_pair(switch: "Switch", results: dict[str, Any]) -> None:
    """A table of the sides, and the gain beside its bound."""
    from gradus.cli.bench_output import print_table

    header = ["", *(label(name) for name in switch.headlines)]
    rows = [_row(side, results, switch.headlines) for side in results["sides"]]
    print_table(header, rows)
    for side, share in results["share_of_tokens_as_the_base"].items():
        print(f"{side}: {share:.1%} of the output tokens are those of {results['base']}")
    if "bound" in results:
        print(bound_line(results["bound"]))


def _row(side: str, results: dict[str, Any], headlines: tuple[str, ...]) -> list[str]:
    """Each figure's median and, for all but the base, its ratio to the base with the interval."""
    cells = [side]
    for name in headlines:
        cell = show(name, results["sides"][side][name]["median"]) if name in results["sides"][side] else "-"
        ratio = results["ratios"].get(side, {}).get(name)
        cells.append(cell if ratio is None else f"{cell} ({show_ratio(ratio)})")
    return cells


def bound_line(bound: dict[str, Any]) -> str:
    """The gain, what the arithmetic allows, and whether it is enough."""
    verdict = "reached" if bound["is_reached"] else "NOT REACHED"
    return (
        f"{bound['what']}: {show_ratio(bound['measured'])}; bound {bound['bound']:.2f}x, "
        f"{bound['share_of_bound']:.0%} of it; at least {bound['least']:.2f}x is asked for: {verdict}"
    )


def show_ratio(ratio: dict[str, Any]) -> str:
    interval = ratio.get("interval_95")
    return f"{ratio['median']:.2f}x" + (f" {interval[0]:.2f}-{interval[1]:.2f}" if interval else "")


def label(figure: str) -> str:
    """A figure's name as a column's heading, with its unit."""
    for ending, unit in (("_tokens_per_second", " tok/s"), ("_seconds", " ms")):
        if figure.endswith(ending):
            return figure.removesuffix(ending).replace("_", " ") + unit
    unit = " (MiB)" if "_bytes" in figure else ""
    return figure.removeprefix("num_").replace("_bytes", "").replace("_", " ") + unit


def show(figure: str, value: float) -> str:
    if figure.endswith("_seconds"):
        return f"{1000 * value:,.1f}"
    if "_bytes" in figure:
        return f"{value / 2**20:,.1f}"
    if figure.endswith("_rate"):
        return f"{value:.0%}"
    return f"{value:,.1f}" if figure.endswith("_per_second") else f"{value:,.0f}"


def _list() -> int:
    from gradus.bench.pairs.switches import SWITCHES
    from gradus.cli.exit_codes import DONE

    for switch in SWITCHES.values():
        print(f"{switch.name:<16} {switch.question}")
    return DONE
