"""The command that is running, as evidence shows it: to be given again, and without this machine's folders.

A path is shown from the folder that it is called from, where it lies there; else from the highest folder that
the command itself names. An interpreter is shown as PYTHON: which packages it has is in `software`.
"""

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradus

VARIABLES = ("GRADUS_CPU", "ONEDNN_MAX_CPU_ISA")  # of the environment, that change what is measured


def command_line() -> str:
    """For `how_obtained`."""
    variables = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    arguments = [without_folders(argument) for argument in sys.argv[1:]]
    return " ".join([*variables, _program(), shlex.join(arguments)]).rstrip()


def without_folders(value: Any) -> Any:
    """A text, or all texts in something, with the command's absolute paths as they are shown."""
    if isinstance(value, Mapping):
        return {name: without_folders(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(item) for item in value]
    if isinstance(value, str):
        for path, shown in _shown_paths().items():
            value = value.replace(path, shown)
    return value


def _shown_paths() -> dict[str, str]:
    """Each absolute path of the command, long ones first, and how it is shown."""
    given = [path for argument in sys.argv[1:] if (path := _path_of(argument)) is not None]
    return {str(path): _shown(path, given) for path in sorted(given, key=lambda path: -len(str(path)))}


def _path_of(argument: str) -> Path | None:
    """The absolute path that an argument is, or the value of `name=value`; a path of a URL is none."""
    path = Path(argument.partition("=")[2] if "=" in argument else argument)
    is_path = path.is_absolute() and path.parent != path.parent.parent and path.parent.exists()
    return path if is_path else None


def _shown(path: Path, given: list[Path]) -> str:
    if path.name.startswith("python"):
        return "PYTHON"
    here = Path.cwd()
    if path != here and path.is_relative_to(here):
        return str(path.relative_to(here))
    highest = min(
        (other for other in given if path.is_relative_to(other)), key=lambda other: len(other.parts)
    )
    return str(path.relative_to(highest.parent))


def _program() -> str:
    """`gradus`, or one of the project's scripts."""
    script, root = Path(sys.argv[0]).resolve(), Path(gradus.__file__).resolve().parents[1]
    if script.parent in (root / "benchmarks", root / "tools"):
        return f"python {script.relative_to(root)}"
    return "gradus"
