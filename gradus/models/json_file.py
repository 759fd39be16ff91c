"""Read a JSON object from a model directory without trusting it: size, encoding, nesting, type are checked.

Knows files and JSON; nothing of what the object means.
"""

import json
from pathlib import Path
from typing import Any, NoReturn

from gradus.errors import CheckpointError

MAX_CONFIG_BYTES = 4 << 20


def read_json_object(path: Path, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """The object in `path`.

    Raises:
        CheckpointError: missing, unreadable, larger than `max_bytes`, not JSON, or not an object.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise CheckpointError(f"{path} has {size:,} bytes; at most {max_bytes:,} are read")
        return parse_json_object(path.read_bytes(), str(path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_json_object(data: bytes, where: str) -> dict[str, Any]:
    """The object in `data`; NaN and infinities, which Python's parser would take, are refused.

    Raises:
        CheckpointError: says what is wrong, and begins with `where`.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CheckpointError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a JSON {type(value).__name__}; it must be an object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
