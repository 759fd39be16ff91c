"""Chat messages to a prompt, by the model's own Jinja template in a sandbox.

The environment is the one that templates on the Hugging Face hub are written for (transformers'
`apply_chat_template`). Knows nothing of tokens: the rendered text is tokenized like any other, except that
the template has already written the special tokens.
"""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradus.errors import InvalidRequestError

if TYPE_CHECKING:
    from jinja2 import Template

MAX_MESSAGES = 4096
MAX_PROMPT_CHARS = 16 * 2**20
MAX_RENDER_SECONDS = 10.0

_RESERVED = ("messages", "tools", "documents", "add_generation_prompt")
_CUT_HERE = "(the last message ends here) "  # the space is there unless a template strips its messages


class ChatTemplate:
    """One compiled template; compiled at first use."""

    def __init__(self, source: str, special_tokens: Mapping[str, str] | None = None) -> None:
        """`special_tokens` are names such as `bos_token`, which templates read as variables."""
        self._source = source
        self._special_tokens = dict(special_tokens or {})

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> str:
        """The prompt for a conversation.

        With `continue_final_message` it ends where the last message's content does, for the model to go on.

        Raises:
            InvalidRequestError: the template is broken, refuses the messages, or writes too much.
        """
        self._check(messages, template_kwargs or {})
        if continue_final_message:
            messages = [*messages[:-1], _with_mark(messages[-1])]
        variables = self._special_tokens | {
            **(template_kwargs or {}),
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt and not continue_final_message,
        }
        text = self._generate(variables)
        return _up_to_mark(text) if continue_final_message else text

    def _generate(self, variables: Mapping[str, Any]) -> str:
        template = self._compiled
        try:
            return _join(template.generate(variables))
        except InvalidRequestError:
            raise
        except _Refusal as error:
            raise InvalidRequestError(
                f"the model's chat template refuses the messages: {error}", "messages"
            ) from None
        except Exception as error:  # the template is a program; whatever it does wrong is about its input
            raise InvalidRequestError(
                f"the model's chat template failed on the messages: {type(error).__name__}: {error}",
                "messages",
            ) from error

    def _check(self, messages: Sequence[Mapping[str, Any]], template_kwargs: Mapping[str, Any]) -> None:
        if not messages:
            raise InvalidRequestError("messages is empty; it must have at least one message", "messages")
        if len(messages) > MAX_MESSAGES:
            raise InvalidRequestError(
                f"messages has {len(messages):,} entries and may have at most {MAX_MESSAGES:,}", "messages"
            )
        taken = [name for name in template_kwargs if name in _RESERVED or name in self._special_tokens]
        if taken:
            raise InvalidRequestError(
                f"chat_template_kwargs sets {taken[0]}, which the server sets itself", "chat_template_kwargs"
            )

    @cached_property
    def _compiled(self) -> "Template":
        try:
            return _environment().from_string(self._source)
        except Exception as error:
            line = getattr(error, "lineno", None)
            place = f" in line {line}" if line else ""
            raise InvalidRequestError(
                f"the model's chat template cannot be compiled: {error}{place}; the completions endpoint "
                "works without it",
                "messages",
            ) from error


def _with_mark(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message to be continued, its end marked. Raises InvalidRequestError."""
    content = message.get("content")
    if message.get("role") != "assistant" or message.get("tool_calls") or not content:
        raise InvalidRequestError(
            "continue_final_message is true; the last message must be the assistant's, with a text to go on "
            "from and without calls",
            "continue_final_message",
        )
    return {**message, "content": f"{content}{_CUT_HERE}"}


def _up_to_mark(text: str) -> str:
    """As transformers' `continue_final_message` cuts, for templates that strip and that do not."""
    place = text.rfind(_CUT_HERE.rstrip())
    if place < 0:
        raise InvalidRequestError(
            "continue_final_message is true, but the model's chat template does not write the last message's "
            "content, so it cannot be continued",
            "continue_final_message",
        )
    return text[:place] if text.startswith(_CUT_HERE, place) else text[:place].rstrip()


class _Refusal(Exception):  # noqa: N818
    """`raise_exception` of a template."""


def _join(parts: Any) -> str:
    """Concatenate what the template writes, up to limits that no honest conversation reaches."""
    written: list[str] = []
    deadline = time.monotonic() + MAX_RENDER_SECONDS
    num_chars = 0
    for part in parts:
        written.append(part)
        num_chars += len(part)
        if num_chars > MAX_PROMPT_CHARS:
            raise InvalidRequestError(
                f"the prompt is longer than {MAX_PROMPT_CHARS:,} characters; shorten the messages", "messages"
            )
        if time.monotonic() > deadline:
            raise InvalidRequestError(
                f"the chat template was not done after {MAX_RENDER_SECONDS:g} seconds; shorten the messages",
                "messages",
            )
    return "".join(written)


def _environment() -> Any:
    """Jinja2 as templates expect it. Imported late: a server without chat requests needs no Jinja2."""
    from jinja2.ext import loopcontrols

    environment = _sandbox()(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _generation_tag()]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.now().strftime(format)
    return environment


def _sandbox() -> Any:
    """Jinja2's sandbox, whose templates multiply no further than a prompt is long.

    Otherwise `9 ** (9 ** 9)` would keep the interpreter busy for ever, even while it is compiled.
    """
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(["*", "**"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _product_size(operator, left, right) > MAX_PROMPT_CHARS:
                raise OverflowError(f"the result of {operator} would be too large")
            return super().call_binop(context, operator, left, right)

    return Sandbox


def _product_size(operator: str, left: Any, right: Any) -> int:
    """Roughly how many items or bits a result has that can grow without limit."""
    if isinstance(left, int) and isinstance(right, int):
        return (
            left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
        )
    if isinstance(left, int):
        left, right = right, left
    return len(left) * max(right, 0) if isinstance(right, int) and hasattr(left, "__len__") else 0


def _generation_tag() -> type:
    """`{% generation %}…{% endgeneration %}` marks an assistant's text for training; here it is its body."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return GenerationTag


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON: Jinja2's own filter escapes for HTML, which models have not been trained on."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise _Refusal(message)
