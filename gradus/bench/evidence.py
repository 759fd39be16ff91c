"""The evidence format: one JSON object per measurement, with all that is needed to judge and repeat it.

A field that was not measured or cannot be found out is absent: never zero, never a guess.
"""

import json
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import gradus
from gradus.config import EngineConfig
from gradus.machine import available_cpus, cpu_features, cpu_model, last_level_cache, total_memory


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
    """The document; what is None inside the parts is left out."""
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
        "how_obtained": f"measured by: gradus {' '.join(sys.argv[1:])}",
        "verification": verification,
        "commit": _commit(),
    }
    return _without_none(document)


def hardware() -> dict[str, Any]:
    """The machine, as far as it can be found out."""
    found = {
        "cpu": cpu_model() or None,
        "cpu_features": cpu_features() or None,
        "cpus_used_at_most": available_cpus(),
        "last_level_cache_bytes": last_level_cache(),
        "memory_bytes": total_memory(),
    }
    return _without_none(found)


def engine_parameters(config: EngineConfig) -> dict[str, Any]:
    """The configuration's fields; those left to the engine's choice are absent."""
    return _without_none(asdict(config))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def to_line(document: Mapping[str, Any]) -> str:
    """The document as the last line of standard output."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _software() -> dict[str, str]:
    import numpy

    return {
        "gradus": gradus.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _commit() -> str | None:
    """The commit of the sources, if this is a checkout and git is there; "+changes" if it was edited."""
    root = Path(gradus.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        head, changes = (
            subprocess.run(
                ["git", "-C", str(root), *command], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changes else head


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
