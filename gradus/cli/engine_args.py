"""The flags that every command which loads a model shares, and their way into an `EngineConfig`."""

import argparse
from collections.abc import Collection, Mapping
from typing import Any

from gradus.cli.flags import add_flags, given_flags
from gradus.config import EngineConfig
from gradus.options import settings_of
from gradus.sampling_params import SamplingParams

_SAMPLING_FLAGS = (
    ("--temperature", float, "0 is greedy (default: the model's recommendation, else 0)"),
    ("--top-p", float, "in (0, 1] (default: the model's recommendation, else 1)"),
    ("--top-k", int, "0 is off (default: the model's recommendation, else 0)"),
    ("--min-p", float, "0 is off (default: the model's recommendation, else 0)"),
    ("--repetition-penalty", float, "1 is off (default: the model's recommendation, else 1)"),
    ("--presence-penalty", float, "-2 to 2 (default: 0)"),
    ("--frequency-penalty", float, "-2 to 2 (default: 0)"),
    ("--min-tokens", int, "nothing ends the text before so many tokens (default: 0)"),
)


def add_engine_arguments(parser: argparse.ArgumentParser, leave_out: Collection[str] = ()) -> None:
    """The model, and one flag per other field of `EngineConfig`; destinations are the fields' names.

    leave_out: fields without a flag, where a command means something else by it.
    """
    settings = settings_of(EngineConfig)
    parser.add_argument("model", nargs="?", help=settings["model"].option.help)
    add_flags(parser, [setting for name, setting in settings.items() if name not in ("model", *leave_out)])


def engine_config(args: argparse.Namespace) -> EngineConfig:
    """Raises:
    ConfigError: a value that cannot work.
    """
    given = given_flags(args, settings_of(EngineConfig))
    return EngineConfig(**{name: flag.value for name, flag in given.items()})


def add_sampling_arguments(parser: argparse.ArgumentParser, *, max_tokens: int | None) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--max-tokens", type=int, default=max_tokens, help="tokens to generate at most")
    for flag, kind, text in _SAMPLING_FLAGS:
        group.add_argument(flag, type=kind, default=None, help=text)
    group.add_argument("--sampling-seed", type=int, default=None, help="makes sampling reproducible")
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="ends the text; repeatable"
    )
    group.add_argument(
        "--bad-word", action="append", default=[], metavar="TEXT", help="is not generated; repeatable"
    )
    group.add_argument("--ignore-eos", action="store_true", help="go on after the end of the sequence")


def sampling_params(args: argparse.Namespace, defaults: Mapping[str, Any]) -> SamplingParams:
    """Of the flags, and of `defaults`, the model's own, for those that were not given; greedy without either.

    Raises:
        InvalidRequestError: a value out of its range.
    """
    names = [flag.removeprefix("--").replace("-", "_") for flag, _, _ in _SAMPLING_FLAGS]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return SamplingParams(
        **{"temperature": 0.0, **defaults, **given},
        max_tokens=args.max_tokens,
        seed=args.sampling_seed,
        stop=args.stop,
        bad_words=args.bad_word,
        ignore_eos=args.ignore_eos,
    )
