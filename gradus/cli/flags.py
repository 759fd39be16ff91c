"""Flags of declared settings: `--max-num-seqs` of `max_num_seqs`, `--x` and `--no-x` where it is on or off.

A flag that was not given leaves no trace in the parsed arguments; values stay texts until they are read
together with those of other sources, so that a wrong one is refused in one way wherever it comes from.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradus.cli.sources import Given, read_text
from gradus.options import Setting


def add_flags(parser: argparse.ArgumentParser, settings: Iterable[Setting]) -> None:
    """One flag per setting, under its group's heading; destinations are the settings' names."""
    groups: dict[str, Any] = {"": parser}
    for setting in settings:
        heading = setting.option.group
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        _add_flag(groups[heading], setting)


def flag_of(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def given_flags(args: argparse.Namespace, settings: Mapping[str, Setting]) -> dict[str, Given]:
    """What the command line sets.

    Raises:
        ConfigError: a value that does not work.
    """
    given: dict[str, Given] = {}
    for name, setting in settings.items():
        value = getattr(args, name, None)
        if value is None:
            continue
        source = "argument MODEL" if name == "model" else f"flag {flag_of(name)}"
        if isinstance(value, list):  # the flag may be repeated
            value = ",".join(value)
        if isinstance(value, str):
            value = read_text(setting, value, source)
        given[name] = Given(value, source)
    return given


def with_dashes(arguments: Sequence[str]) -> list[str]:
    """The arguments with `-` for `_` in the names of flags; what follows a bare `--` is left alone."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [_with_dashes(argument) for argument in arguments[:end]] + list(arguments[end:])


def _with_dashes(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _add_flag(group: Any, setting: Setting) -> None:
    names = [flag_of(setting.name)] + ([f"--{setting.option.alias}"] if setting.option.alias else [])
    details: dict[str, Any] = {"dest": setting.name, "default": None, "help": _help(setting)}
    if setting.kind is bool:
        group.add_argument(*names, action=argparse.BooleanOptionalAction, **details)
        return
    if setting.choices:
        details["choices"] = tuple(map(str, setting.choices))
    else:
        details["metavar"] = setting.option.metavar or {int: "N", float: "X"}.get(setting.kind, "TEXT")
    if setting.kind is tuple:
        details["action"] = "append"
    if setting.option.takes_several:
        details |= {"action": "extend", "nargs": "+"}
    group.add_argument(*names, **details)


def _help(setting: Setting) -> str:
    text = setting.option.help
    if setting.kind is tuple:
        return f"{text}; repeatable"
    if setting.default is None or "default" in text or setting.option.is_secret:
        return text
    default = str(setting.default).lower() if setting.kind is bool else f"{setting.default}"
    return f"{text} (default: {default})".replace("%", "%%")
