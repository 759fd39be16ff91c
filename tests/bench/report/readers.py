"""Read pages as a stranger would: by an HTML parser, and by a Markdown parser whose HTML is read in turn."""

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt

SCALES = (1, 1e3, 100, 1e-9, 1 / (1 << 20), 1 / (1 << 30))  # seconds as ms, shares as per cent, bytes as MiB
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
ONLY_NUMBERS = re.compile(rf"{NUMBER.pattern}(?: %)?(?: to {NUMBER.pattern}(?: %)?)?")


@dataclass
class Read(HTMLParser):
    """What a page holds: links with their words, cells with their words and links, all tags."""

    links: list[tuple[str, str]] = field(default_factory=list)
    cells: list[tuple[str, str | None]] = field(default_factory=list)
    tags: list[tuple[str, dict]] = field(default_factory=list)
    words: str = ""

    def __post_init__(self):
        super().__init__()
        self._href, self._link, self._cell, self._column = None, "", None, 0

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self._href, self._link = dict(attrs).get("href"), ""
        if tag == "tr":
            self._column = 0
        if tag in ("td", "th"):
            self._cell = ["", None]

    def handle_data(self, data):
        self.words += data
        self._link += data
        if self._cell is not None:
            self._cell[0] += data
            self._cell[1] = self._href or self._cell[1]

    def handle_endtag(self, tag):
        if tag == "a" and self._href:
            self.links.append((self._link, self._href))
            self._href = None
        if tag in ("td", "th"):
            if tag == "td" and self._column:  # the first names the row
                self.cells.append((self._cell[0], self._cell[1]))
            self._cell = None
            self._column += 1


def read_html(text):
    page = Read()
    page.feed(text)
    page.close()
    return page


def read_markdown(text):
    """As GitHub reads it: with tables, and raw HTML let through."""
    return read_html(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def target_of(page_path, href):
    """The file that a relative link leads to, and what is at its JSON pointer (RFC 6901)."""
    parts = urlsplit(href)
    file = (page_path.parent / unquote(parts.path)).resolve()
    value = json.loads(file.read_text())
    for key in unquote(parts.fragment).split("/")[1:]:
        key = key.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return file, value


def says(text, value):
    """Whether the words are this value, in some unit, to the digits that they show."""
    if isinstance(value, bool):
        return text.lower() == ("yes" if value else "no") or text.startswith("not ")
    if isinstance(value, str):
        return " ".join(value.split()).startswith(" ".join(text.removesuffix("+changes").split()))
    if isinstance(value, dict):
        value = [value["min"], value["max"]]
    shown = [found.replace(",", "") for found in NUMBER.findall(text)]
    known = value if isinstance(value, list) else [value]
    return len(shown) == len(known) and any(
        all(_rounds_to(one * scale, digits) for one, digits in zip(known, shown, strict=True))
        for scale in SCALES
    )


def _rounds_to(value, digits):
    """To half a unit of the last digit shown, and a hair."""
    last = digits.partition("e")[0].partition(".")[2]
    if "e" in digits:
        return abs(value - float(digits)) <= 0.006 * abs(value)
    return abs(value - float(digits)) <= 0.5001 * 10 ** -len(last)
