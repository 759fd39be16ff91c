"""`gradus cache`: what is kept on disk for the next start; delete it, or read it through for damage."""

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from gradus.cli import exit_codes
from gradus.disk_cache.entry import DamagedEntryError, Entry
from gradus.disk_cache.store import CachedFile, DiskCache

_ACTIONS = {
    "list": "what is kept, the last used first",
    "verify": "read all of it, and delete what is damaged",
    "clear": "delete all of it",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=_ACTIONS,
        help="; ".join(f"{action}: {purpose}" for action, purpose in _ACTIONS.items()),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    cache = DiskCache()
    if args.action == "clear":
        return _clear(cache, args.json)
    check = args.action == "verify"
    report = [_described(cache, file, check) for file in cache.files()]
    if args.json:
        print(json.dumps({"folder": str(cache.folder), "max_bytes": cache.max_bytes, "files": report}))
    else:
        print("\n".join(_text(cache, report)))
    return exit_codes.FAILED if check and any("damage" in file for file in report) else exit_codes.DONE


def _clear(cache: DiskCache, as_json: bool) -> int:
    gone = cache.clear()
    num_bytes = sum(file.num_bytes for file in gone)
    if as_json:
        print(json.dumps({"folder": str(cache.folder), "num_deleted": len(gone), "num_bytes": num_bytes}))
    else:
        print(f"{len(gone)} files deleted from {cache.folder}, {_size(num_bytes)}")
    return exit_codes.FAILED if cache.files() else exit_codes.DONE


def _described(cache: DiskCache, file: CachedFile, check: bool) -> dict[str, Any]:
    """A file for a report; with `check` all of it is read, and a damaged one deleted."""
    found: dict[str, Any] = {
        "path": str(file.path),
        "kind": file.path.parent.name,
        "bytes": file.num_bytes,
        "last_used": datetime.fromtimestamp(file.last_used, UTC).isoformat(timespec="seconds"),
    }
    try:
        entry = Entry(file.path)
        found["name"] = entry.key.name
        if check:
            if sys.stderr.isatty():
                print(f"reading {file.path}", file=sys.stderr)
            entry.verify()
    except (DamagedEntryError, OSError, ValueError) as error:
        found["damage"] = str(error)
        if check:
            found["deleted"] = cache.remove(file.path)
    return found


def _text(cache: DiskCache, report: list[dict[str, Any]]) -> list[str]:
    total = sum(file["bytes"] for file in report)
    lines = [f"{cache.folder}: {_size(total)} of at most {_size(cache.max_bytes)}"]
    for file in report:
        name = file.get("name", file["path"])
        damage = f"  damaged: {file['damage']}" if "damage" in file else ""
        damage += ", deleted" if file.get("deleted") else ""
        used = file["last_used"].replace("T", " ")[:16]
        lines.append(f"  {file['kind']:<10} {name:<44} {_size(file['bytes']):>9}  last used {used}{damage}")
    return lines if report else [*lines, "  nothing yet: models are added when they are first loaded"]


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"
