"""Where cached files lie and how much room they may take, by the environment and the customs of the system.

Knows folders and sizes; nothing of what is cached.
"""

import os
from pathlib import Path

from gradus.errors import ConfigError
from gradus.options import parse_count

DEFAULT_MAX_BYTES = 32 << 30


def cache_folder() -> Path:
    """$GRADUS_CACHE, else $XDG_CACHE_HOME/gradus, else ~/.cache/gradus; need not exist.

    Raises:
        ConfigError: none of the three says where, because this user has no home directory.
    """
    own = os.environ.get("GRADUS_CACHE")
    if own:
        return Path(os.path.abspath(os.path.expanduser(own)))
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # the XDG specification says that a relative path is to be ignored
        return Path(shared) / "gradus"
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        raise ConfigError("there is no home directory for Gradus' cache; set GRADUS_CACHE to a folder")
    return Path(home) / ".cache" / "gradus"


def cache_size() -> int:
    """Bytes that all cached files together may take: $GRADUS_CACHE_SIZE, else 32 GiB.

    Raises:
        ConfigError: the variable is no size.
    """
    text = os.environ.get("GRADUS_CACHE_SIZE")
    if not text:
        return DEFAULT_MAX_BYTES
    try:
        size = parse_count(text)
    except ValueError:
        size = -1
    if size < 0:
        raise ConfigError(f"GRADUS_CACHE_SIZE is {text!r}; it must be bytes, or a size such as 512M or 20G")
    return size
