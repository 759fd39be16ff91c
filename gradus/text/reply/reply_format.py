"""Which format a model's replies have: chosen by the operator, or found in the model's chat template.

A template is the one place where a model says how its calls are written: it has to write earlier ones.
"""

from collections.abc import Collection
from dataclasses import dataclass

from gradus.errors import ConfigError
from gradus.text.reply import hermes, llama3_json, mistral, think
from gradus.text.reply.call_parser import CallParser
from gradus.text.reply.hermes import HermesParser
from gradus.text.reply.llama3_json import Llama3JsonParser
from gradus.text.reply.mistral import MistralParser
from gradus.text.reply.parser import PlainParser, ReplyParser
from gradus.text.reply.think import ThinkParser
from gradus.text.tokenizer import Tokenizer

_CALL_PARSERS: dict[str, type[CallParser]] = {
    "hermes": HermesParser,
    "llama3_json": Llama3JsonParser,
    "mistral": MistralParser,
}
TOOL_CALL_PARSERS = ("auto", *_CALL_PARSERS, "none")
REASONING_PARSERS = ("auto", "think", "none")

# Marks of formats that a template with <tool_call> may have instead of JSON.
_OTHER_THAN_JSON = ("<function=", "<arg_key>")


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """How replies are read.

    Attributes:
        tool_calls: "hermes", "llama3_json", "mistral", or "none".
        reasoning: "think" or "none".
        auto_tool_choice: whether the model may decide by itself to call a tool.
        args_mark: Mistral's newer form of a call, with `[ARGS]` after the name.
    """

    tool_calls: str = "none"
    reasoning: str = "none"
    auto_tool_choice: bool = True
    args_mark: bool = False

    def parser(
        self, prompt: str, tool_names: Collection[str] = (), max_calls: int | None = None
    ) -> ReplyParser:
        """A parser for one reply to `prompt`.

        Without names of tools, calls are content; so are marks of reasoning that the prompt has closed.
        """
        parser: ReplyParser = PlainParser()
        if tool_names and self.tool_calls != "none":
            parser = _CALL_PARSERS[self.tool_calls](tool_names, max_calls)
        if self.may_reason(prompt):
            parser = ThinkParser(parser, is_open=is_thinking(prompt))
        return parser

    def may_reason(self, prompt: str) -> bool:
        """Whether the reply to `prompt` can begin with reasoning: the template may have closed it already."""
        return self.reasoning == "think" and not has_thought(prompt)

    def marks(self, *, with_calls: bool) -> tuple[str, ...]:
        """What the parsers look for; where it is a special token, the text must show that."""
        marks = (think.OPENING, think.CLOSING) if self.reasoning == "think" else ()
        return marks + _CALL_MARKS[self.tool_calls] if with_calls else marks

    def special_marks(self, tokenizer: Tokenizer, *, with_calls: bool) -> frozenset[int]:
        """Ids of the special tokens among the marks."""
        ids = (tokenizer.token_id(mark) for mark in self.marks(with_calls=with_calls))
        return frozenset(token_id for token_id in ids if token_id in tokenizer.special_ids)


_CALL_MARKS: dict[str, tuple[str, ...]] = {
    "hermes": (hermes.OPENING, hermes.CLOSING),
    "llama3_json": (llama3_json.PYTHON_TAG,),
    "mistral": (mistral.TOOL_CALLS, mistral.CALL_ID, mistral.ARGS),
    "none": (),
}


def is_thinking(prompt: str) -> bool:
    """Whether the template has opened the reasoning already."""
    return prompt.rstrip().endswith(think.OPENING)


def has_thought(prompt: str) -> bool:
    """Whether the template has closed the reasoning already."""
    return prompt.rstrip().endswith(think.CLOSING)


def choose_format(
    template: str | None, tool_calls: str = "auto", reasoning: str = "auto", *, auto_tool_choice: bool = True
) -> ReplyFormat:
    """The format for a model with this chat template; "auto" is what the template shows.

    Raises:
        ConfigError: there is no such parser.
    """
    for name, value, known in (
        ("tool_call_parser", tool_calls, TOOL_CALL_PARSERS),
        ("reasoning_parser", reasoning, REASONING_PARSERS),
    ):
        if value not in known:
            raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
    source = template or ""
    return ReplyFormat(
        _detect_tool_calls(source) if tool_calls == "auto" else tool_calls,
        _detect_reasoning(source) if reasoning == "auto" else reasoning,
        auto_tool_choice,
        mistral.ARGS in source,
    )


def _detect_tool_calls(template: str) -> str:
    if "tools" not in template:
        return "none"
    if mistral.TOOL_CALLS in template:
        return "mistral"
    if hermes.OPENING in template and not any(mark in template for mark in _OTHER_THAN_JSON):
        return "hermes"
    if "<|start_header_id|>" in template and "parameters" in template:
        return "llama3_json"
    return "none"


def _detect_reasoning(template: str) -> str:
    return "think" if think.CLOSING in template else "none"
