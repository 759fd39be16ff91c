"""The parts of a reply as OpenAI's chat completions show them: deltas of a stream, and whole messages."""

import secrets
from typing import Any

from gradus.text.reply.parts import CallArguments, CallBegin, ContentText, Part, ReasoningText, ReplyMessage


def new_call_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def part_delta(part: Part) -> dict[str, Any]:
    """`choices[].delta` for one part: a call's id and name come first, its arguments then piece by piece."""
    match part:
        case ReasoningText(text):
            return {"reasoning": text, "reasoning_content": text}
        case ContentText(text):
            return {"content": text}
        case CallBegin(index, name):
            return {"tool_calls": [{"index": index, **_call(name, "")}]}
        case CallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def whole_message(reply: ReplyMessage, *, shows_reasoning: bool) -> dict[str, Any]:
    """`choices[].message`. Content is null where there are only calls; reasoning where there is none."""
    calls = [_call(call.name, call.arguments) for call in reply.tool_calls]
    content = None if calls and not reply.content else reply.content
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if shows_reasoning:
        message["reasoning"] = message["reasoning_content"] = reply.reasoning or None
    if calls:
        message["tool_calls"] = calls
    return message


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": new_call_id(),
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
