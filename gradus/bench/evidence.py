"""The evidence format: one JSON object per measurement, with all that is needed to judge and repeat it.

A field that was not measured or cannot be found out is absent: never zero, never a guess. The format is
published as `evidence.schema.json`, and every document is held to it.
"""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradus
from gradus.bench.command_line import command_line, without_folders
from gradus.bench.hardware import hardware
from gradus.config import EngineConfig
from gradus.errors import ConfigError


def evidence(
    test_name: str,
    *,
    model: Mapping[str, Any],
    parameters: Mapping[str, Any],
    method: str,
    results: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    verification: Mapping[str, Any],
    software: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The document; what is None inside the parts is left out, and so are the folders of the command's paths.

    Raises:
        jsonschema.ValidationError: a part is not as the schema says, which is the bench's mistake.
    """
    document = {
        "test_name": test_name,
        "test_date": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(),
        "software": {**_software(), **(software or {})},
        "model": model,
        "parameters": parameters,
        "method": method,
        "results": results,
        "runs": list(runs),
        "how_obtained": f"measured by: {command_line()}",
        "verification": verification,
        "commit": _commit(),
    }
    complete = without_folders(_without_none(document))
    validate(complete)
    return complete


def validate(document: Mapping[str, Any]) -> None:
    """Hold a document to the published schema.

    Raises:
        jsonschema.ValidationError: says which part is not as it must be.
    """
    import jsonschema

    jsonschema.Draft202012Validator(schema()).validate(document)


def read_evidence(path: Path) -> dict[str, Any]:
    """A document from a file.

    Raises:
        ConfigError: it cannot be read, or is no evidence.
    """
    import jsonschema

    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
        validate(document)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as evidence: {error}") from error
    except jsonschema.ValidationError as error:
        raise ConfigError(f"{path} is not evidence: {error.json_path}: {error.message}") from error
    return document


def schema() -> dict[str, Any]:
    """The published JSON Schema."""
    return json.loads(Path(__file__).with_name("evidence.schema.json").read_text())


def engine_parameters(config: EngineConfig) -> dict[str, Any]:
    """The configuration's fields; those left to the engine's choice are absent."""
    return _without_none(asdict(config))


def to_line(document: Mapping[str, Any]) -> str:
    """The document as the last line of standard output."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")


def _software() -> dict[str, str]:
    import numpy

    return {
        "gradus": gradus.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _commit() -> str | None:
    """The commit of the sources, if this is a checkout and git is there; "+changes" if they were edited.

    Evidence that was written over is no edit of what is measured.
    """
    root = Path(gradus.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    status = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results"]
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], status)
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changes else head


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
