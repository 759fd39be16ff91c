"""`gradus chat`: a conversation in the terminal, streamed, with its history."""

import argparse
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradus.cli.chat_input import UnclosedBlockError, read_message
from gradus.cli.conversation import Conversation, load
from gradus.cli.engine_args import (
    add_engine_arguments,
    add_sampling_arguments,
    engine_config,
    sampling_params,
)
from gradus.cli.terminal import prompt, styled
from gradus.errors import GradusError, InvalidRequestError

if TYPE_CHECKING:
    from gradus.llm import LLM
    from gradus.sampling_params import SamplingParams

HELP = '''\
/system TEXT   set the system prompt; without a text, remove it
/reset         forget the conversation
/undo          forget the last question and its answer
/save FILE     write the conversation as JSON
/load FILE     go on with a conversation from such a file
/stats         tokens and times, of the last answer and of all
/quit          leave; so does Ctrl-D
A line that ends with \\ goes on in the next; """ begins and ends a block of lines. Ctrl-C stops an answer.'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_sampling_arguments(parser, max_tokens=None)
    parser.add_argument("--system", metavar="TEXT", default="", help="the system prompt")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    sampling_params(args, {})  # refuses wrong values before a model is loaded
    from gradus.llm import LLM

    with LLM.from_config(config) as llm:
        params = sampling_params(args, llm.default_sampling)
        print(f"{styled(llm.model_name, 'bold')} is ready. /help lists the commands.")
        _prepare_input()
        Chat(llm, params, args.system).loop()
    return 0


@dataclass(slots=True)
class Stats:
    """Counts in tokens, times in seconds; of one answer, or summed over several."""

    num_answers: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_tokens: int = 0
    first_seconds: float = 0.0
    decode_seconds: float = 0.0  # from the first token to the last
    num_decoded: int = 0  # tokens after the first

    def add(self, other: "Stats") -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self) -> str:
        parts = [
            f"{self.num_prompt_tokens:,} prompt tokens ({self.num_cached_tokens:,} cached)",
            f"{self.num_tokens:,} tokens",
            f"first after {1000 * self.first_seconds / max(1, self.num_answers):.0f} ms",
        ]
        if self.decode_seconds > 0:
            parts.append(f"{self.num_decoded / self.decode_seconds:.1f} tokens/s")
        return ", ".join(parts)


class Chat:
    """The loop: reads messages and commands, prints answers."""

    def __init__(self, llm: "LLM", params: "SamplingParams", system: str) -> None:
        self._llm = llm
        self._params = params
        self._conversation = Conversation(system)
        self._last: Stats | None = None
        self._total = Stats()
        self._commands: dict[str, Callable[[str], str]] = {
            "/system": self._set_system,
            "/reset": self._reset,
            "/undo": self._undo,
            "/save": self._save,
            "/load": self._load,
            "/stats": self._show_stats,
            "/help": lambda _: HELP,
        }

    def loop(self) -> None:
        while True:
            try:
                message, may_be_command = read_message(lambda text: input(prompt(text)))
            except EOFError:
                print()
                return
            except UnclosedBlockError:
                print('\nThe block was not closed with """, so it was not sent.', file=sys.stderr)
                return
            if may_be_command and message in ("/quit", "/exit"):
                return
            if may_be_command and message.startswith("/"):
                print(self._command(message))
            elif message:
                self._answer(message)

    def _command(self, line: str) -> str:
        name, _, argument = line.partition(" ")
        if name not in self._commands:
            return f"There is no {name}; /help lists the commands."
        try:
            return self._commands[name](argument.strip())
        except GradusError as error:
            return styled(str(error), "red")

    def _reset(self, _: str) -> str:
        self._conversation = Conversation(self._conversation.system)
        return "The conversation is forgotten."

    def _set_system(self, text: str) -> str:
        self._conversation = Conversation(text, self._conversation.turns)
        return "The system prompt is set." if text else "The system prompt is removed."

    def _undo(self, _: str) -> str:
        if not self._conversation.turns:
            return "There is nothing to undo."
        self._conversation = self._conversation.without_last_turn()
        return "The last question and its answer are forgotten."

    def _save(self, name: str) -> str:
        if not name:
            return "/save needs a file's name."
        self._conversation.save(Path(name).expanduser())
        return f"{len(self._conversation.messages)} messages are in {name}."

    def _load(self, name: str) -> str:
        if not name:
            return "/load needs a file's name."
        loaded = load(Path(name).expanduser())
        if loaded.messages:
            self._llm.chat_prompt(loaded.messages)  # refuses what the model's template refuses
        self._conversation = loaded
        return f"{len(loaded.messages)} messages were read from {name}."

    def _show_stats(self, _: str) -> str:
        if self._last is None:
            return "Nothing was answered yet."
        return f"last answer: {self._last}\nall {self._total.num_answers}: {self._total}"

    def _answer(self, text: str) -> None:
        """Stream one answer; a failed or interrupted turn leaves the history as it was."""
        asked = self._conversation.with_question(text)
        try:
            answer, stats = self._stream(asked)
        except KeyboardInterrupt:
            print("\n(interrupted)")
            return
        except GradusError as error:
            way_out = " /reset starts a new conversation." if isinstance(error, InvalidRequestError) else ""
            print(styled(f"{error}{way_out}", "red"))
            return
        self._conversation = asked.with_answer(answer)
        self._last = stats
        self._total.add(stats)
        print(styled(f"({stats})", "dim", sys.stderr), file=sys.stderr)

    def _stream(self, asked: Conversation) -> tuple[str, Stats]:
        question: Any = self._llm.chat_prompt(asked.messages)
        num_cached_before = self._llm.stats().num_cached_prompt_tokens
        text, num_tokens, first = "", 0, 0.0
        start = time.monotonic()
        for delta in self._llm.stream(question, self._params):
            first = first or time.monotonic()
            text += delta.text
            num_tokens += len(delta.token_ids)
            print(delta.text, end="", flush=True)
        decode = time.monotonic() - first
        print()
        return text, Stats(
            num_answers=1,
            num_prompt_tokens=len(question["prompt_token_ids"]),
            num_cached_tokens=self._llm.stats().num_cached_prompt_tokens - num_cached_before,
            num_tokens=num_tokens,
            first_seconds=first - start,
            decode_seconds=decode if num_tokens > 1 else 0.0,
            num_decoded=max(0, num_tokens - 1),
        )


def _prepare_input() -> None:
    """Let a stray byte be a stray character, and have line editing where Python was built with it."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    try:
        import readline  # noqa: F401
    except ImportError:
        return
