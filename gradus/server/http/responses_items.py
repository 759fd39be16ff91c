"""The output items of `/v1/responses`, built part by part, and the events that tell of each step.

A whole answer is built by the same steps; then nobody looks at the events. Knows parts and the protocol's
shapes; knows nothing of engines.
"""

import secrets
from collections.abc import Iterator
from typing import Any

from gradus.server.http.chat_parts import new_call_id
from gradus.text.reply.parts import CallArguments, CallBegin, ContentText, Part, ReasoningText

Event = dict[str, Any]


class OutputItems:
    """The items so far, of which the last may be open."""

    def __init__(self) -> None:
        self.output: list[dict[str, Any]] = []  # the complete ones
        self._open: _TextItem | _CallItem | None = None

    def add(self, part: Part, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        """Go on by a part; `logprobs` are of tokens since the last text."""
        match part:
            case ReasoningText(text):
                yield from self._add_text("reasoning", text, [])
            case ContentText(text):
                yield from self._add_text("message", text, logprobs)
            case CallBegin(_, name):
                yield from self.close("completed")
                self._open = _CallItem(len(self.output), name)
                yield self._open.added()
            case CallArguments(_, text):
                if isinstance(self._open, _CallItem):
                    yield self._open.delta(text)

    def end(self, status: str, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        """The reply is over. An answer without any item is a message without text."""
        if self._open is None and not self.output:
            yield from self._add_text("message", "", logprobs)
        elif logprobs and isinstance(self._open, _TextItem) and self._open.kind == "message":
            yield self._open.delta("", logprobs)
        yield from self.close(status)

    def close(self, status: str) -> Iterator[Event]:
        """Complete the open item, if there is one."""
        if self._open is not None:
            yield from self._open.done(status)
            self.output.append(self._open.item(status))
            self._open = None

    def _add_text(self, kind: str, text: str, logprobs: list[dict[str, Any]]) -> Iterator[Event]:
        if not (isinstance(self._open, _TextItem) and self._open.kind == kind):
            yield from self.close("completed")
            self._open = _TextItem(len(self.output), kind)
            yield from self._open.added()
        if text or logprobs:
            yield self._open.delta(text, logprobs)


class _TextItem:
    """A message or reasoning: an item with one part of text."""

    def __init__(self, output_index: int, kind: str) -> None:
        self.kind = kind
        self._id = _new_id("msg" if kind == "message" else "rs")
        self._part_type = "output_text" if kind == "message" else "reasoning_text"
        self._place = {"item_id": self._id, "output_index": output_index, "content_index": 0}
        self._output_index = output_index
        self._texts: list[str] = []
        self._logprobs: list[dict[str, Any]] = []

    def added(self) -> Iterator[Event]:
        item = {**self.item("in_progress"), "content": []}
        yield {"type": "response.output_item.added", "output_index": self._output_index, "item": item}
        yield {"type": "response.content_part.added", **self._place, "part": self._part()}

    def delta(self, text: str, logprobs: list[dict[str, Any]]) -> Event:
        self._texts.append(text)
        self._logprobs += logprobs
        change = {"type": f"response.{self._part_type}.delta", **self._place, "delta": text}
        return change | {"logprobs": logprobs} if self.kind == "message" else change

    def done(self, status: str) -> Iterator[Event]:
        part = self._part()
        end = {"type": f"response.{self._part_type}.done", **self._place, "text": part["text"]}
        yield end | {"logprobs": self._logprobs} if self.kind == "message" else end
        yield {"type": "response.content_part.done", **self._place, "part": part}
        item = self.item(status)
        yield {"type": "response.output_item.done", "output_index": self._output_index, "item": item}

    def item(self, status: str) -> dict[str, Any]:
        item: dict[str, Any] = {
            "id": self._id,
            "type": self.kind,
            "status": status,
            "content": [self._part()],
        }
        about: dict[str, Any] = {"role": "assistant"} if self.kind == "message" else {"summary": []}
        return item | about

    def _part(self) -> dict[str, Any]:
        part: dict[str, Any] = {"type": self._part_type, "text": "".join(self._texts)}
        return part | {"annotations": [], "logprobs": self._logprobs} if self.kind == "message" else part


class _CallItem:
    """A call of a function."""

    def __init__(self, output_index: int, name: str) -> None:
        self._id, self._call_id, self._name = _new_id("fc"), new_call_id(), name
        self._place = {"item_id": self._id, "output_index": output_index}
        self._output_index = output_index
        self._arguments: list[str] = []

    def added(self) -> Event:
        item = self.item("in_progress")
        return {"type": "response.output_item.added", "output_index": self._output_index, "item": item}

    def delta(self, text: str) -> Event:
        self._arguments.append(text)
        return {"type": "response.function_call_arguments.delta", **self._place, "delta": text}

    def done(self, status: str) -> Iterator[Event]:
        item = self.item(status)
        text = {"name": self._name, "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **self._place, **text}
        yield {"type": "response.output_item.done", "output_index": self._output_index, "item": item}

    def item(self, status: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._arguments),
        }


def _new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(16)}"
