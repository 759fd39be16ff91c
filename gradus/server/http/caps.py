"""How many entries a body's lists may have, whichever route it is for: checked before anything else is."""

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


def check_caps(body: Mapping[str, Any], settings: ServerSettings) -> None:
    """Raises InvalidRequestError with the field, its size and the most that works."""
    for field, name in CAPS.items():
        value, most = body.get(field), getattr(settings, name)
        if isinstance(value, (list, dict)) and len(value) > most:
            raise InvalidRequestError(
                f"{field} has {len(value):,} entries and may have at most {most:,} here", field
            )
    n = body.get("n")
    if isinstance(n, int) and n > settings.max_n:
        raise InvalidRequestError(f"n is {n:,}; it may be at most {settings.max_n:,} here", "n")
