"""What the parsers of all tool-call formats share: content, marks that may open a call, calls as objects.

A format is a subclass: its mark, what follows the mark, what follows a call. Knows no format itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from gradus.text.reply.call_object import CallObject
from gradus.text.reply.parts import CallArguments, CallBegin, ContentText, Part, joined

SPACES = " \t\r\n"


class CallParser(ABC):
    """A state machine over the text that is not decided yet. A state returns whether the next may go on.

    White space next to a call belongs to the format. A call that breaks off before it has begun is content,
    its mark included; one that breaks off later stays as far as it came, and the rest is content.
    """

    mark = ""  # what opens a call within content

    def __init__(self, names: Collection[str], max_calls: int | None = None) -> None:
        """
        names: of the functions that can be called; a call of any other is content.
        max_calls: further calls are left out of the reply.
        """
        self._names = frozenset(names)
        self._max_calls = max_calls
        self._num_calls = 0
        self._text = ""  # not decided yet
        self._state: Callable[[], bool] = self._in_content
        self._parts: list[Part] = []
        self._attempt = ""  # what is content if the call that is being read turns out to be none
        self._spaces = ""  # what may be next to a call
        self._is_in_text = False  # content that is not white space came after the last call
        self._object = CallObject(self._names)

    def feed(self, text: str) -> list[Part]:
        self._text += text
        while self._text and self._state():
            pass
        return self._take()

    def finish(self) -> list[Part]:
        self._give_up()
        if self._state != self._after_call:  # there, what is left is the beginning of the format's own text
            self._say(self._text)
        self._text = ""
        if self._spaces and not self._num_calls:
            self._parts.append(ContentText(self._spaces))
        return self._take()

    def _take(self) -> list[Part]:
        taken, self._parts = joined(self._parts), []
        return taken

    def _in_content(self) -> bool:
        found = self._text.find(self.mark)
        if found < 0:
            kept = length_of_beginning(self._text, self.mark)
            self._say(self._consume(len(self._text) - kept))
            return False
        self._say(self._consume(found))
        self._attempt, self._spaces = self._spaces, ""
        self._attempt += self._consume(len(self.mark))
        self._state = self._after_mark
        return True

    def _after_mark(self) -> bool:
        self._begin_object()
        return True

    @abstractmethod
    def _after_call(self) -> bool: ...

    def _begin_object(self) -> None:
        self._object = CallObject(self._names)
        self._state = self._in_object

    def _in_object(self) -> bool:
        call = self._object
        had_begun = call.begun
        read = self._consume(call.read(self._text))
        if not call.begun:
            self._attempt += read
        elif not had_begun:
            self._begin_call(call.name or "")
        self._say_arguments(call.take_arguments())
        if call.broken:
            self._give_up()
            self._state = self._in_content
        elif call.complete:
            self._state = self._after_call
        else:
            return False
        return True

    def _begin_call(self, name: str) -> None:
        self._num_calls += 1
        self._attempt = ""
        self._is_in_text = False
        if not self._is_one_too_many:
            self._parts.append(CallBegin(self._num_calls - 1, name))

    def _say_arguments(self, text: str) -> None:
        if text and not self._is_one_too_many:
            self._parts.append(CallArguments(self._num_calls - 1, text))

    @property
    def _is_one_too_many(self) -> bool:
        return self._max_calls is not None and self._num_calls > self._max_calls

    def _give_up(self) -> None:
        """The call that is being read is none; what it has begun with is content."""
        attempt, self._attempt = self._attempt, ""
        self._say(attempt)

    def _say(self, text: str) -> None:
        """Content; white space at the start or after a call waits for what follows."""
        if not self._is_in_text:
            text = self._spaces + text
            self._is_in_text = bool(text.strip(SPACES))
            self._spaces = "" if self._is_in_text else text
        if self._is_in_text:
            self._parts.append(ContentText(text))

    def _consume(self, length: int) -> str:
        consumed, self._text = self._text[:length], self._text[length:]
        return consumed

    def _next_char(self) -> str:
        """The first character that is not white space; empty if there is none yet."""
        return self._text.lstrip(SPACES)[:1]

    def _consume_through(self, char: str) -> str:
        return self._consume(self._text.index(char) + 1)


def length_of_beginning(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`, but not all of it."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0
