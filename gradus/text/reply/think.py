"""Reasoning between `<think>` and `</think>`, at the start of a reply.

The opening mark is generated, or the template has written it at the end of the prompt. Line breaks next to
the marks belong to the format. Anywhere else the marks are text like any other: an answer may be about them.
"""

from collections.abc import Callable

from gradus.text.reply.call_parser import SPACES, length_of_beginning
from gradus.text.reply.parser import ReplyParser
from gradus.text.reply.parts import Part, ReasoningText, joined

OPENING, CLOSING = "<think>", "</think>"


class ThinkParser:
    """Gives what follows the reasoning to the parser `inner`."""

    def __init__(self, inner: ReplyParser, *, is_open: bool = False) -> None:
        """is_open: the prompt ends with the opening mark."""
        self._inner = inner
        self._text = ""
        self._parts: list[Part] = []
        self._state: Callable[[], bool] = self._thinking if is_open else self._at_start
        self._is_first = True  # nothing was thought yet
        self.has_thought = is_open  # or has begun to

    def feed(self, text: str) -> list[Part]:
        self._text += text
        while self._text and self._state():
            pass
        return self._take()

    def finish(self) -> list[Part]:
        if self._state == self._thinking:
            self._think(self._text)
        elif self._state == self._at_start:
            self._parts += self._inner.feed(self._text)
        self._text = ""
        self._parts += self._inner.finish()
        return self._take()

    def _take(self) -> list[Part]:
        taken, self._parts = joined(self._parts), []
        return taken

    def _at_start(self) -> bool:
        rest = self._text.lstrip(SPACES)
        if rest.startswith(OPENING):
            self._text = rest.removeprefix(OPENING)
            self._state = self._thinking
            self.has_thought = True
        elif OPENING.startswith(rest):
            return False
        else:
            self._state = self._answering
        return True

    def _thinking(self) -> bool:
        found = self._text.find(CLOSING)
        if found < 0:
            certain = len(self._text) - length_of_beginning(self._text, CLOSING)
            certain = len(self._text[:certain].rstrip("\n"))
            self._think(self._text[:certain])
            self._text = self._text[certain:]
            return False
        self._think(self._text[:found].rstrip("\n"))
        self._text = self._text[found + len(CLOSING) :]
        self._state = self._after_thinking
        return True

    def _think(self, text: str) -> None:
        if self._is_first:
            text = text.lstrip("\n")
        self._is_first = self._is_first and not text
        self._parts.append(ReasoningText(text))

    def _after_thinking(self) -> bool:
        self._text = self._text.lstrip("\n")
        if self._text:
            self._state = self._answering
        return True

    def _answering(self) -> bool:
        text, self._text = self._text, ""
        self._parts += self._inner.feed(text)
        return True
