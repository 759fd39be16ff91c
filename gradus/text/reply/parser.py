"""`ReplyParser`: text deltas of one choice in, the reply's parts out.

Knows how the parsers of reasoning and of tool calls follow one another; the formats have files of their own.
"""

from typing import Protocol

from gradus.text.reply.parts import ContentText, Part


class ReplyParser(Protocol):
    """Reads one choice's text as it grows.

    However the text is cut into deltas, the parts are the same once neighbours of one kind are put together.
    A part is given as soon as nothing that may follow can change it. Text that turns out to be no call,
    or not a complete one, is content: no text gets lost but what the format itself consists of.
    """

    def feed(self, text: str) -> list[Part]:
        """Go on with `text`; returns what is now certain."""

    def finish(self) -> list[Part]:
        """The text ends here; returns what was held back."""


class PlainParser:
    """A reply that is all content."""

    def feed(self, text: str) -> list[Part]:
        return [ContentText(text)] if text else []

    def finish(self) -> list[Part]:
        return []
