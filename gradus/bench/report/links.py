"""Where a page's links lead: to the evidence's file beside it, and the place in it as a JSON pointer."""

import os
from pathlib import Path
from urllib.parse import quote


def link_to(page: Path, source: Path, pointer: str = "") -> str:
    """A relative URL from a page to a place in a file (RFC 3986, RFC 6901 section 6)."""
    relative = Path(os.path.relpath(source.absolute(), page.absolute().parent)).as_posix()
    place = f"#{quote(pointer, safe='/~')}" if pointer else ""
    return quote(relative) + place
