"""Tool calls as Mistral models write them after the token `[TOOL_CALLS]`.

Older models write one array, `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]`; newer ones each call as
`[TOOL_CALLS]name{...}`, with `[ARGS]` and before it `[CALL_ID]id` between name and arguments where their
vocabulary has these tokens. Source: mistral-common, instruct tokenizers v3 to v13.
"""

import re

from gradus.text.reply.call_parser import CallParser
from gradus.text.reply.json_scanner import JsonScanner

TOOL_CALLS, CALL_ID, ARGS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"

_NAME = re.compile(r"\s*([\w.-]*)", re.ASCII)
_HEAD = re.compile(r"\s*[\w.-]+\s*(?:\[CALL_ID\]\s*[\w-]+\s*)?(?:\[ARGS\])?\s*", re.ASCII)
_HEAD_SO_FAR = re.compile(
    r"\s*[\w.-]*\s*(?:\[[A-Z_]{0,7}\]?|\[CALL_ID\]\s*[\w-]+\s*(?:\[[A-Z]{0,4}\]?)?)?\s*", re.ASCII
)
_MAX_HEAD_CHARS = 256


class MistralParser(CallParser):
    mark = TOOL_CALLS

    _is_array = False

    def _after_mark(self) -> bool:
        following = self._next_char()
        if not following:
            return False
        self._is_array = following == "["
        if self._is_array:
            self._attempt += self._consume_through("[")
            self._begin_object()
        else:
            self._state = self._in_head
        return True

    def _after_call(self) -> bool:
        following = self._next_char()
        if not following:
            return False
        if following == ",":
            self._attempt = self._consume_through(",")
            self._begin_object()
            return True
        if following == "]":
            self._consume_through("]")
        self._state = self._in_content
        return True

    def _in_head(self) -> bool:
        """A function's name, and all that may stand between it and its arguments."""
        head, brace, _ = self._text.partition("{")
        name = _NAME.match(head)[1]  # type: ignore[index]
        if brace and name in self._names and _HEAD.fullmatch(head):
            self._consume(len(head))
            self._begin_call(name)
            self._scanner = JsonScanner()
            self._state = self._in_arguments
            return True
        may_go_on = not brace and any(known.startswith(name) for known in self._names)
        if may_go_on and len(head) <= _MAX_HEAD_CHARS and _HEAD_SO_FAR.fullmatch(head):
            return False
        self._give_up()
        self._state = self._in_content
        return True

    def _in_arguments(self) -> bool:
        end, well_formed = self._scanner.read(self._text)
        self._say_arguments(self._consume(end))
        if well_formed and not self._scanner.complete:
            return False
        self._state = self._in_content
        return True
