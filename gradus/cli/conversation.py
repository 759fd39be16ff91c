"""A conversation's messages: what was said, and their way into a file and back."""

import json
import os
from pathlib import Path
from typing import Any

from gradus.errors import GradusError

MAX_FILE_BYTES = 8 << 20
_ROLES = ("user", "assistant")

Message = dict[str, str]


class ConversationError(GradusError):
    """A file that cannot be read as a conversation, or not be written; the message says why."""


class Conversation:
    """A system prompt, perhaps, and turns of user and assistant."""

    def __init__(self, system: str = "", turns: list[Message] | None = None) -> None:
        self.system = system
        self.turns = turns or []

    @property
    def messages(self) -> list[Message]:
        """As a chat template takes them."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, *self.turns]

    def with_question(self, text: str) -> "Conversation":
        return Conversation(self.system, [*self.turns, {"role": "user", "content": text}])

    def with_answer(self, text: str) -> "Conversation":
        return Conversation(self.system, [*self.turns, {"role": "assistant", "content": text}])

    def without_last_turn(self) -> "Conversation":
        """Without the last question and what followed it."""
        kept = list(self.turns)
        while kept and kept.pop()["role"] != "user":
            pass
        return Conversation(self.system, kept)

    def save(self, path: Path) -> None:
        """Write the messages as a JSON list; a file that holds something else is not overwritten.

        Raises:
            ConversationError: it cannot be written, or exists and is no conversation.
        """
        if path.exists():
            try:
                load(path)
            except ConversationError:
                raise ConversationError(
                    f"{path} exists and is no conversation; choose another name"
                ) from None
        text = json.dumps(self.messages, ensure_ascii=False, indent=2) + "\n"
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise ConversationError(f"{path} cannot be written: {error.strerror or error}") from error


def load(path: Path) -> Conversation:
    """Read a file that `save` wrote, or one of the same form.

    Raises:
        ConversationError: it cannot be read, or is no list of messages; names the first that is wrong.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConversationError(f"{path} is longer than {MAX_FILE_BYTES:,} bytes")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConversationError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConversationError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, list):
        raise ConversationError(f"{path} holds no list of messages")
    for i, message in enumerate(value):
        _check(path, i, message)
    has_system = bool(value) and value[0]["role"] == "system"
    return Conversation(value[0]["content"] if has_system else "", value[has_system:])


def _check(path: Path, index: int, message: Any) -> None:
    """Each an object of role and content, the system's first if at all."""
    allowed = ("system", *_ROLES) if index == 0 else _ROLES
    if not (isinstance(message, dict) and set(message) == {"role", "content"}):
        raise ConversationError(f"{path}: message {index} is no object of just role and content")
    if message["role"] not in allowed:
        raise ConversationError(
            f"{path}: message {index} has the role {message['role']!r:.60}; it may be {' or '.join(allowed)}"
        )
    if not isinstance(message["content"], str):
        raise ConversationError(f"{path}: the content of message {index} is no text")
