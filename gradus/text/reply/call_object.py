"""One tool call written as a JSON object, `{"name": ..., "arguments": {...}}`, read while it is written."""

import json
from collections.abc import Collection

from gradus.text.reply.json_scanner import JsonScanner

_ARGUMENT_KEYS = ("arguments", "parameters")
_IGNORED_KEYS = ("id", "type")
_SPACES = " \t\r\n"


class CallObject:
    """Takes the object's characters in order, white space before it included.

    The call has begun once it is certain: a known name and arguments that start as an object do. Arguments
    that are an object written in a string count as that object; without any, they are `{}`.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.name: str | None = None
        self.complete = False
        self.broken = False
        self._names = names
        self._expects = "{"  # {, first key, key, colon, value, next
        self._key = ""
        self._seen: set[str] = set()
        self._scanner: JsonScanner | None = None  # of the key or value that is being read
        self._written = ""  # of it, so far; not kept of arguments
        self._arguments: str | None = None  # not taken yet

    @property
    def begun(self) -> bool:
        return self.name is not None and self._arguments is not None

    def read(self, text: str) -> int:
        """Take what of `text` belongs to the object; returns the end of that.

        If `broken` is set then, the character there cannot follow.
        """
        position = 0
        while position < len(text) and not (self.complete or self.broken):
            if self._scanner is not None:
                position = self._read_piece(self._scanner, text, position)
            elif text[position] in _SPACES:
                position += 1
            elif self._opens_piece(text[position]):
                self._scanner, self._written = JsonScanner(), ""
            elif self._structure(text[position]):
                position += 1
            else:
                self.broken = True
        return position

    def take_arguments(self) -> str:
        """The text of arguments that was read since the last time; empty before the call has begun."""
        if not self.begun:
            return ""
        taken, self._arguments = self._arguments or "", ""
        return taken

    def _opens_piece(self, char: str) -> bool:
        """Whether a key or a value starts here."""
        if self._expects in ("key", "first key"):
            return char == '"'
        if self._expects != "value":
            return False
        if self._key in _ARGUMENT_KEYS and char == "{":
            self._arguments = ""
        return True

    def _structure(self, char: str) -> bool:
        if char == self._expects == "{":
            self._expects = "first key"
        elif char == ":" and self._expects == "colon":
            self._expects = "value"
        elif char == "," and self._expects == "next":
            self._expects = "key"
        elif char == "}" and self._expects == "next" and self.name is not None:
            self.complete = True
            if self._arguments is None:
                self._arguments = "{}"
        else:
            return False
        return True

    def _read_piece(self, scanner: JsonScanner, text: str, start: int) -> int:
        end, self_consistent = scanner.read(text, start)
        if self._is_arguments_object:
            self._arguments = (self._arguments or "") + text[start:end]
        else:
            self._written += text[start:end]
        if not self_consistent:
            self.broken = True
        elif scanner.complete:
            self.broken = not self._end_piece()
        return end

    @property
    def _is_arguments_object(self) -> bool:
        return self._expects == "value" and self._key in _ARGUMENT_KEYS and self._arguments is not None

    def _end_piece(self) -> bool:
        """A key or a value is complete; returns whether it can be part of a call."""
        self._scanner = None
        if self._expects in ("key", "first key"):
            self._expects = "colon"
            self._key = json.loads(self._written, strict=False)
            return self._is_new(self._key)
        if self._is_arguments_object:
            self._expects = "next"
            return True
        self._expects = "next"
        if self._key == "name":
            self.name = _known(self._written, self._names)
            return self.name is not None
        if self._key in _ARGUMENT_KEYS:
            self._arguments = _object_in_string(self._written)
            return self._arguments is not None
        return True

    def _is_new(self, key: str) -> bool:
        kind = "arguments" if key in _ARGUMENT_KEYS else key
        is_new = kind not in self._seen and kind in ("name", "arguments", *_IGNORED_KEYS)
        self._seen.add(kind)
        return is_new


def _known(written: str, names: Collection[str]) -> str | None:
    name = json.loads(written, strict=False)
    return name if isinstance(name, str) and name in names else None


def _object_in_string(written: str) -> str | None:
    """The object that a JSON string holds; None if `written` is none, or holds something else."""
    held = json.loads(written, strict=False)
    if not isinstance(held, str):
        return None
    text = held.strip(_SPACES)
    scanner = JsonScanner()
    end, well_formed = scanner.read(text)
    return text if text.startswith("{") and well_formed and scanner.complete and end == len(text) else None
