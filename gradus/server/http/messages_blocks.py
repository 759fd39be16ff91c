"""The content blocks of `/v1/messages`, built part by part, and the events that tell of each step.

A whole answer is built by the same steps; then nobody looks at the events. Knows parts and the protocol's
shapes; knows nothing of engines.
"""

import secrets
from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json

from gradus.text.reply.parts import CallArguments, CallBegin, ContentText, Part, ReasoningText

Event = dict[str, Any]

_EMPTY: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},  # thoughts are not signed here
}


class ContentBlocks:
    """The blocks so far, of which the last may be open."""

    def __init__(self, *, shows_thinking: bool = True) -> None:
        """shows_thinking: false: thinking blocks are there, but empty."""
        self.content: list[dict[str, Any]] = []  # the complete ones
        self._shows_thinking = shows_thinking
        self._open: dict[str, Any] | None = None
        self._texts: list[str] = []  # what the open one is about to hold

    def add(self, part: Part) -> Iterator[Event]:
        """Go on by a part."""
        match part:
            case ReasoningText(text):
                yield from self._add_text("thinking", text if self._shows_thinking else "")
            case ContentText(text):
                yield from self._add_text("text", text)
            case CallBegin(_, name):
                call = {"type": "tool_use", "id": f"toolu_{secrets.token_hex(12)}", "name": name, "input": {}}
                yield from self._begin(call)
            case CallArguments(_, text):
                yield self._delta("input_json_delta", "partial_json", text)

    def close(self) -> Iterator[Event]:
        """Complete the open block, if there is one."""
        if self._open is None:
            return
        yield {"type": "content_block_stop", "index": len(self.content)}
        text = "".join(self._texts)
        kind = self._open["type"]
        filled: Any = {"input": _partial_object(text)} if kind == "tool_use" else {kind: text}
        self.content.append(self._open | filled)
        self._open = None

    def _add_text(self, kind: str, text: str) -> Iterator[Event]:
        if self._open is None or self._open["type"] != kind:
            yield from self._begin(_EMPTY[kind])
        if text:
            yield self._delta(f"{kind}_delta", kind, text)

    def _begin(self, block: dict[str, Any]) -> Iterator[Event]:
        yield from self.close()
        self._open, self._texts = block, []
        yield {"type": "content_block_start", "index": len(self.content), "content_block": block}

    def _delta(self, kind: str, name: str, text: str) -> Event:
        self._texts.append(text)
        delta = {"type": kind, name: text}
        return {"type": "content_block_delta", "index": len(self.content), "delta": delta}


def _partial_object(text: str) -> dict[str, Any]:
    """Arguments that may have been cut off by the limit of tokens: as much of them as is there."""
    try:
        value = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
