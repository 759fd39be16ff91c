"""Where a JSON value ends, and whether it still can be one, found while it is written.

Grammar: RFC 8259, except that strings may hold control characters: models write line breaks in them.
"""

import re

MAX_DEPTH = 128
_MAX_SCALAR_CHARS = 1024  # of a number
_PLAIN = re.compile(r'[^"\\]*')
_NUMBER_SO_FAR = re.compile(r"-?(?:(?:0|[1-9]\d*)(?:\.\d*)?(?:(?<=\d)[eE][+-]?\d*)?)?", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_LITERALS = ("true", "false", "null")
_SPACES = " \t\r\n"
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


class JsonScanner:
    """Takes one value's characters in order, beginning with its first.

    A number that is the whole value is complete only once something else follows; look at `may_end` there.
    """

    def __init__(self) -> None:
        self.complete = False
        self._stack: list[str] = []  # "{" and "[" that are open
        self._expects = "value"  # value, first (value or "]"), key, first key (or "}"), colon, next, string
        self._is_key = False
        self._escape = 0  # 1 after a backslash, 2 to 5: hexadecimal digits still to come, plus 1
        self._scalar = ""

    @property
    def may_end(self) -> bool:
        """Whether what was taken is a value, were nothing to follow."""
        return self.complete or (not self._stack and _is_scalar(self._scalar))

    def read(self, text: str, start: int = 0) -> tuple[int, bool]:
        """Take what of `text[start:]` belongs to the value.

        Returns the end of that, and whether all is well: false if the character there cannot follow.
        """
        position = start
        while position < len(text) and not self.complete:
            if self._expects == "string" and not self._escape:
                position = _PLAIN.match(text, position).end()  # type: ignore[union-attr]
                if position == len(text):
                    break
            if not self._step(text[position]):
                return position, self.complete
            position += 1
        return position, True

    def _step(self, char: str) -> bool:
        """Take a character if it may follow. A number before it ends, even where `char` is not taken."""
        if self._expects == "string":
            return self._in_string(char)
        if self._scalar:
            if _may_be_scalar(self._scalar + char):
                self._scalar += char
                self._end_literal()
                return True
            if not _is_scalar(self._scalar):
                return False
            self._end_value()
            if self.complete:
                return False
        if char in _SPACES:
            return True
        return self._structure(char)

    def _structure(self, char: str) -> bool:
        expects = self._expects
        if char == '"' and expects in ("value", "first", "key", "first key"):
            self._is_key = expects in ("key", "first key")
            self._expects = "string"
        elif char in "]}" and expects in ("next", "first" if char == "]" else "first key"):
            return self._close("[" if char == "]" else "{")
        elif char == ":" and expects == "colon":
            self._expects = "value"
        elif char == "," and expects == "next":
            self._expects = "key" if self._stack[-1] == "{" else "value"
        elif expects in ("value", "first"):
            return self._begin_value(char)
        else:
            return False
        return True

    def _begin_value(self, char: str) -> bool:
        if char in "{[":
            self._stack.append(char)
            self._expects = "first key" if char == "{" else "first"
            return len(self._stack) <= MAX_DEPTH
        self._scalar = char if _may_be_scalar(char) else ""
        return bool(self._scalar)

    def _in_string(self, char: str) -> bool:
        if self._escape == 1:
            self._escape = 5 if char == "u" else 0
            return char in '"\\/bfnrtu'
        if self._escape:
            self._escape = self._escape - 1 if self._escape > 2 else 0
            return char in _HEX_DIGITS
        if char == "\\":
            self._escape = 1
        elif self._is_key:
            self._is_key, self._expects = False, "colon"
        else:
            self._end_value()
        return True

    def _end_literal(self) -> None:
        if self._scalar in _LITERALS:
            self._end_value()

    def _close(self, opening: str) -> bool:
        if self._stack[-1] != opening:
            return False
        self._stack.pop()
        self._end_value()
        return True

    def _end_value(self) -> None:
        self._scalar = ""
        self._expects = "next"
        self.complete = not self._stack


def _may_be_scalar(text: str) -> bool:
    if len(text) > _MAX_SCALAR_CHARS:
        return False
    return any(name.startswith(text) for name in _LITERALS) or _NUMBER_SO_FAR.fullmatch(text) is not None


def _is_scalar(text: str) -> bool:
    return text in _LITERALS or _NUMBER.fullmatch(text) is not None
