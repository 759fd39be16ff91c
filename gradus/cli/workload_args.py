"""The flags of every bench that runs a workload, and their way into one."""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import engine_config
from gradus.config import EngineConfig
from gradus.errors import ConfigError

if TYPE_CHECKING:
    from gradus.bench.workloads.base import Workload

_COUNTS = ("num-requests", "input-len", "output-len", "concurrency")


def add_workload_arguments(parser: argparse.ArgumentParser, *, default: str = "reference") -> None:
    """Which workload, and what is other than it says."""
    group = parser.add_argument_group("workload")
    group.add_argument("--workload", default=default, metavar="NAME", help="default: %(default)s")
    group.add_argument(
        "--workload-file", metavar="FILE", help="conversations in ShareGPT's format, for --workload sharegpt"
    )
    for name in _COUNTS:
        group.add_argument(f"--{name}", type=int, metavar="N", help="default: the workload's")
    add_workload_option(group)
    group.add_argument(
        "--request-rate", type=float, metavar="R", help="an open loop: so many requests arrive per second"
    )
    group.add_argument(
        "--burstiness",
        type=float,
        metavar="B",
        help="shape of the gaps' gamma distribution: 1 is a Poisson process, less is more bursty",
    )


def add_workload_option(group: Any) -> None:
    """See `with_options`."""
    group.add_argument(
        "--workload-option",
        action="append",
        default=[],
        metavar="NAME=NUMBER",
        help="another number of the workload, such as share_of_prompt=0.5; repeatable",
    )


def bench_engine_config(args: argparse.Namespace) -> EngineConfig:
    """As `engine_config`, with prefix caching off unless it is asked for.

    Raises:
        ConfigError: a value that cannot work.
    """
    config = engine_config(args)
    return config if args.enable_prefix_caching else replace(config, enable_prefix_caching=False)


def workload_of(args: argparse.Namespace) -> "Workload":
    """Raises:
    ConfigError: there is no such workload, or it has no such number, or one cannot work.
    """
    from gradus.bench.workloads.registry import changed_workload

    names = [name.replace("-", "_") for name in (*_COUNTS, "request-rate", "burstiness")]
    numbers = {name: value for name in names if (value := getattr(args, name)) is not None}
    return changed_workload(args.workload, args.workload_file, **with_options(numbers, args.workload_option))


def with_options(numbers: Mapping[str, float | None], texts: list[str]) -> dict[str, float | None]:
    """The numbers of flags, and those of `--workload-option`.

    Raises:
        ConfigError: one is in both, or a text is not `NAME=NUMBER`.
    """
    options = _options(texts)
    if twice := sorted(name for name in options if numbers.get(name) is not None):
        raise ConfigError(f"{twice[0]} is given by a flag of its own and by --workload-option; give it once")
    return {**numbers, **options}


def _options(texts: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.replace("-", "_")] = int(value) if value.lstrip("-").isdecimal() else float(value)
        except ValueError:
            raise ConfigError(
                f"--workload-option is {text!r}; it must be NAME=NUMBER, such as num_turns=3"
            ) from None
    return found
