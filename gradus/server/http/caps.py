"""How long a body's lists and schemas may be, whichever route it is for: checked before anything else is."""

import json
from collections.abc import Mapping
from typing import Any

from gradus.errors import InvalidRequestError
from gradus.server.settings import ServerSettings

# field of a body -> the setting that caps it
CAPS = {
    "messages": "max_messages",
    "tools": "max_tools",
    "stop": "max_stop_strings",
    "stop_sequences": "max_stop_strings",
    "logit_bias": "max_logit_bias",
}


# fields that hold schemas and grammars: whole, or one in each entry
_FORMS = ("response_format", "structured_outputs", "text", "output_config")
_FORMS_IN_ENTRIES = ("tools",)


def check_caps(body: Mapping[str, Any], settings: ServerSettings) -> None:
    """Raises InvalidRequestError with the field, its size and the most that works."""
    for field, name in CAPS.items():
        value, most = body.get(field), getattr(settings, name)
        if isinstance(value, (list, dict)) and len(value) > most:
            raise InvalidRequestError(
                f"{field} has {len(value):,} entries and may have at most {most:,} here", field
            )
    items = body.get("input")  # of a conversation, where they are objects
    if isinstance(items, list) and len(items) > settings.max_messages and isinstance(items[0], dict):
        raise InvalidRequestError(
            f"input has {len(items):,} entries and may have at most {settings.max_messages:,} here", "input"
        )
    n = body.get("n")
    if isinstance(n, int) and n > settings.max_n:
        raise InvalidRequestError(f"n is {n:,}; at most {settings.max_n:,} choices work here", "n")
    _check_forms(body, settings.max_schema_chars)


def _check_forms(body: Mapping[str, Any], most: int) -> None:
    parts = {field: body[field] for field in _FORMS if field in body}
    for field in _FORMS_IN_ENTRIES:
        entries = body.get(field)
        if isinstance(entries, list):
            parts |= {f"{field}[{i}]": entry for i, entry in enumerate(entries)}
    for place, part in parts.items():
        num_chars = len(json.dumps(part, ensure_ascii=False, separators=(",", ":")))
        if num_chars > most:
            raise InvalidRequestError(
                f"{place} has {num_chars:,} characters of JSON and may have at most {most:,} here", place
            )
