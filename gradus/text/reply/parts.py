"""The parts of a reply, as a parser finds them in the growing text, and the message they add up to.

Knows no format and no protocol: ids of calls are the front end's business.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ReasoningText:
    """More of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class ContentText:
    """More of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegin:
    """A call of a tool starts. Calls are numbered from 0; they do not overlap."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of call `index`'s arguments: the texts of one call add up to a JSON object.

    They do not if the model stopped within the call or broke off the JSON; what it wrote instead is content.
    """

    index: int
    text: str


Part = ReasoningText | ContentText | CallBegin | CallArguments


@dataclass(slots=True)
class ToolCall:
    """One call: a function's name and its arguments as JSON text."""

    name: str
    arguments: str = ""


@dataclass(slots=True)
class ReplyMessage:
    """A reply so far; `add` takes the parts in order."""

    reasoning: str = ""
    content: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)

    def add(self, parts: Iterable[Part]) -> None:
        for part in parts:
            match part:
                case ReasoningText(text):
                    self.reasoning += text
                case ContentText(text):
                    self.content += text
                case CallBegin(_, name):
                    self.tool_calls.append(ToolCall(name))
                case CallArguments(index, text):
                    self.tool_calls[index].arguments += text


def joined(parts: Iterable[Part]) -> list[Part]:
    """The same parts, neighbours of one kind put together and empty ones left out."""
    result: list[Part] = []
    for part in parts:
        if isinstance(part, CallBegin):
            result.append(part)
        elif part.text:
            last = result[-1] if result else None
            if (
                isinstance(last, CallArguments)
                and isinstance(part, CallArguments)
                and last.index == part.index
            ):
                result[-1] = CallArguments(part.index, last.text + part.text)
            elif isinstance(last, ReasoningText | ContentText) and type(last) is type(part):
                result[-1] = type(last)(last.text + part.text)
            else:
                result.append(part)
    return result
