"""Where settings come from: flags before environment variables, these before a file, that before defaults.

Every source is read strictly: a name that no setting has and a value that does not work are errors that say
which source has them. A setting's value keeps its source, for `--show-config`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gradus.errors import ConfigError
from gradus.options import MASK, Setting

PREFIX = "GRADUS_"
# Read where they are used, by every command; no settings of a server.
OTHER_VARIABLES = ("GRADUS_CACHE", "GRADUS_CACHE_SIZE", "GRADUS_CONFIG", "GRADUS_CPU")


@dataclass(frozen=True, slots=True)
class Given:
    """A setting's value and the words for where it was found."""

    value: Any
    source: str


def merge(settings: Mapping[str, Setting], *sources: Mapping[str, Given]) -> dict[str, Given]:
    """Every setting's value, from the first of `sources` that has one, else its default."""
    merged: dict[str, Given] = {}
    for name, setting in settings.items():
        found = next((source[name] for source in sources if name in source), None)
        merged[name] = found or Given(setting.default, "default")
    return merged


def read_environment(settings: Mapping[str, Setting], environment: Mapping[str, str]) -> dict[str, Given]:
    """The settings among the variables that begin with `GRADUS_`.

    Raises:
        ConfigError: one of them is no setting, or its value does not work.
    """
    given: dict[str, Given] = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in settings or variable != PREFIX + name.upper():
            raise ConfigError(
                f"the environment has {variable}, which is no setting"
                f"{_did_you_mean(name, settings, lambda near: PREFIX + near.upper())}{_KUBERNETES}"
            )
        text = environment[variable]
        if not text:
            raise ConfigError(f"the environment has {variable} without a value; unset it or give it one")
        given[name] = Given(read_text(settings[name], text, variable), f"environment {variable}")
    return given


_KUBERNETES = "; Kubernetes sets such variables for a service named gradus unless enableServiceLinks is false"


def read_text(setting: Setting, text: str, source: str) -> Any:
    """Raises ConfigError with the name of the `source` that the text is from."""
    try:
        return setting.parse(text)
    except ValueError as error:
        hint = _KUBERNETES if text.startswith("tcp://") else ""
        where = source.removeprefix("flag ")
        raise ConfigError(f"{where} is {setting.shown(text)}; {error}{hint}") from None


def read_file(settings: Mapping[str, Setting], path: str) -> dict[str, Given]:
    """The settings in a YAML file, a mapping of their names to values; `-` in a name counts as `_`.

    Raises:
        ConfigError: the file cannot be read, names something twice or something that is no setting, or has a
            value that does not work; with the line.
    """
    given: dict[str, Given] = {}
    for line, key, value in _read_pairs(path):
        place = f"{path} line {line}"
        name = str(key).replace("-", "_")
        if name not in settings:
            hint = _did_you_mean(name, settings, str)
            raise ConfigError(f"{place} sets {key!r}, which is no setting{hint}")
        if name in given:
            raise ConfigError(f"{place} sets {name} again; {given[name].source} has it already")
        given[name] = Given(_read_value(settings[name], value, place), place)
    return given


def _read_value(setting: Setting, value: Any, place: str) -> Any:
    """A number may be written with a suffix and is a text then; nothing else changes its type."""
    try:
        if isinstance(value, str) and setting.kind in (int, tuple):
            return setting.parse(value)
        return setting.check(value)
    except ValueError as error:
        hint = " (in quotes, if it looks like something else)" if setting.kind in (str, tuple) else ""
        raise ConfigError(f"{place}: {setting.name} is {setting.shown(value)}; {error}{hint}") from None


def _read_pairs(path: str) -> Iterable[tuple[int, Any, Any]]:
    """Line, key and value of each entry."""
    import yaml

    try:
        with open(path, encoding="utf-8") as file:
            loader = yaml.SafeLoader(file)
            root = loader.get_single_node()
            if root is None:
                return []
            if not isinstance(root, yaml.MappingNode):
                raise ConfigError(f"{path} is no list of settings; write one per line, as in port: 8000")
            return [
                (
                    key.start_mark.line + 1,
                    loader.construct_object(key, deep=True),
                    loader.construct_object(value, deep=True),
                )
                for key, value in root.value
            ]
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


def _did_you_mean(name: str, settings: Mapping[str, Setting], spell: Any) -> str:
    import difflib

    near = difflib.get_close_matches(name, settings, n=1)
    return f" (did you mean {spell(near[0])}?)" if near else ""


def show(settings: Mapping[str, Setting], values: Mapping[str, Given]) -> str:
    """All settings as a YAML file that says where each value came from; secrets are masked."""
    lines = []
    for name, setting in settings.items():
        given = values[name]
        is_hidden = setting.option.is_secret and given.value
        value = json.dumps(MASK if is_hidden else given.value, ensure_ascii=False)
        lines.append(f"{f'{name}: {value}':<44} # {given.source}")
    return "\n".join(lines)
