"""`gradus models`: what is supported, and which models the hub's cache has."""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gradus.cli import exit_codes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    report = {**supported(), "cached": cached()}
    print(json.dumps(report, ensure_ascii=False) if args.json else "\n".join(_text(report)))
    return exit_codes.DONE


def supported() -> dict[str, Any]:
    """What can be loaded."""
    from typing import get_args

    from gradus.models.checkpoint.base import WeightDtype
    from gradus.models.registry import supported_architectures
    from gradus.models.sources import DEMO_DIRECTORY, DUMMY_SHAPES

    return {
        "architectures": supported_architectures(),
        "formats": ["safetensors", "gguf"],
        "weight_types": list(get_args(WeightDtype)),
        "embedded": ["demo"] if (DEMO_DIRECTORY / "config.json").exists() else [],
        "dummies": [f"dummy:{name}" for name in DUMMY_SHAPES],
    }


def cached() -> list[dict[str, Any]]:
    """Models in the hub's cache, the last used first; an unreadable cache has none."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    models = sorted(
        (repo for repo in repos if repo.repo_type == "model"), key=lambda r: -(r.last_accessed or 0)
    )
    return [
        {
            "name": repo.repo_id,
            "bytes": repo.size_on_disk,
            "last_used": datetime.fromtimestamp(repo.last_accessed, UTC).isoformat(timespec="seconds"),
            "path": str(repo.repo_path),
            "architecture": _architecture(repo),
        }
        for repo in models
    ]


def _architecture(repo: Any) -> str | None:
    """What the newest revision's config.json names; None where there is none to read."""
    from gradus.errors import GradusError
    from gradus.models.json_file import read_json_object

    revisions = sorted(repo.revisions, key=lambda revision: -(revision.last_modified or 0))
    for revision in revisions:
        config = Path(revision.snapshot_path) / "config.json"
        if config.exists():
            try:
                names = read_json_object(config).get("architectures")
            except GradusError:
                return None
            return names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
    return None


def _text(report: dict[str, Any]) -> list[str]:
    lines = [
        "Supported",
        f"  architectures  {', '.join(report['architectures'])}",
        f"  formats        {', '.join(report['formats'])}, weights in {', '.join(report['weight_types'])}",
        f"  embedded       {', '.join(report['embedded']) or 'none in this installation'}",
        f"  random weights {', '.join(report['dummies'])}",
        "  also           a .gguf file, a directory with config.json and weights, or a name from the hub",
        "In the hub's cache",
    ]
    for model in report["cached"]:
        runs = "" if model["architecture"] in report["architectures"] else " (not supported)"
        size = f"{model['bytes'] / 1e9:,.2f} GB"
        lines.append(f"  {model['name']:<40} {size:>10}  last used {model['last_used'][:10]}{runs}")
    return (
        lines
        if report["cached"]
        else [*lines, "  nothing yet: a hub model is downloaded when it is first used"]
    )
