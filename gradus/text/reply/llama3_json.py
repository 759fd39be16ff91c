"""Tool calls as Llama 3 models write them: `{"name": ..., "parameters": {...}}`, nothing before it but a tag.

The tag `<|python_tag|>` may come first, or after other content; several calls are parted by semicolons.
Source: Meta's prompt format of Llama 3.1 and 3.2, "JSON based tool calling".
"""

from collections.abc import Collection

from gradus.text.reply.call_parser import CallParser

PYTHON_TAG = "<|python_tag|>"


class Llama3JsonParser(CallParser):
    mark = PYTHON_TAG

    def __init__(self, names: Collection[str], max_calls: int | None = None) -> None:
        super().__init__(names, max_calls)
        self._begin_object()  # a reply that starts with an object may be a call

    def _after_call(self) -> bool:
        following = self._next_char()
        if not following:
            return False
        if following == ";":
            self._attempt = self._consume_through(";")
        if following in ";{":
            self._begin_object()
        else:
            self._state = self._in_content
        return True
