"""Reads a folder of evidence; what is no evidence is told apart, with the reason."""

import re
from collections.abc import Container
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from gradus.bench.evidence import read_evidence
from gradus.bench.report.document import Document
from gradus.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Misfit:
    """A JSON file that is not evidence, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Folder:
    documents: list[Document]
    misfits: list[Misfit]


def read_folder(path: Path) -> Folder:
    """All `*.json` files in a folder and the folders in it, by their path.

    Raises:
        ConfigError: it is no folder, or there is no evidence in it.
    """
    if not path.is_dir():
        raise ConfigError(f"{path} is no folder; name one with the evidence that --output wrote")
    found = Folder([], [])
    for file in sorted(path.rglob("*.json")):
        try:
            data = read_evidence(file)
        except ConfigError as error:
            reason = str(error).removeprefix(f"{file} ")
            found.misfits.append(Misfit(file, reason))
        else:
            taken = {document.name for document in found.documents}
            found.documents.append(Document(file, _name(file.relative_to(path), taken), data))
    if not found.documents:
        more = f"; {len(found.misfits)} JSON files there are something else" if found.misfits else ""
        raise ConfigError(f"{path} has no evidence{more}; write some with gradus bench NAME --output FILE")
    return found


def _name(path: Path, taken: Container[str]) -> str:
    """By its path in the folder, such as qwen-ladder for qwen/ladder.json."""
    name = re.sub(r"[^a-z0-9.]+", "-", path.with_suffix("").as_posix().lower()).strip("-.") or "evidence"
    numbered = (f"{name}-{number}" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)
