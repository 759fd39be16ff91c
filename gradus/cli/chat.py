"""`gradus chat`: a conversation in the terminal, streamed, with its history."""

import argparse
import sys
import time
from typing import TYPE_CHECKING

from gradus.cli.engine_args import (
    add_engine_arguments,
    add_sampling_arguments,
    engine_config,
    sampling_params,
)
from gradus.errors import InvalidRequestError

if TYPE_CHECKING:
    from gradus.llm import LLM
    from gradus.sampling_params import SamplingParams

HELP = (
    "/system TEXT sets the system prompt, /reset forgets the conversation, /help prints this, /quit leaves."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    add_sampling_arguments(parser, max_tokens=None)
    parser.add_argument("--system", metavar="TEXT", default="", help="the system prompt")


def run(args: argparse.Namespace) -> int:
    sampling_params(args, {})  # refuses wrong values before a model is loaded
    from gradus.llm import LLM

    with LLM.from_config(engine_config(args)) as llm:
        params = sampling_params(args, llm.default_sampling)
        print(f"{llm.model_name} is ready. {HELP}")
        _import_readline()
        Conversation(llm, params, args.system).loop()
    return 0


class Conversation:
    """The messages so far and the loop that extends them."""

    def __init__(self, llm: "LLM", params: "SamplingParams", system: str) -> None:
        self._llm = llm
        self._params = params
        self._system = system
        self._turns: list[dict[str, str]] = []

    def loop(self) -> None:
        while True:
            try:
                line = input("> ").strip()
            except EOFError:
                print()
                return
            if line in ("/quit", "/exit"):
                return
            if line.startswith("/"):
                print(self._command(line))
            elif line:
                self._answer(line)

    def _command(self, line: str) -> str:
        name, _, argument = line.partition(" ")
        if name == "/reset":
            self._turns.clear()
            return "The conversation is forgotten."
        if name == "/system":
            self._system = argument.strip()
            return "The system prompt is set." if self._system else "The system prompt is removed."
        return HELP if name == "/help" else f"There is no {name}. {HELP}"

    def _answer(self, line: str) -> None:
        """Stream one answer; a failed or interrupted turn leaves the history as it was."""
        turns = [*self._turns, {"role": "user", "content": line}]
        system = [{"role": "system", "content": self._system}] if self._system else []
        try:
            text = self._stream([*system, *turns])
        except KeyboardInterrupt:
            print("\n(interrupted)")
            return
        except InvalidRequestError as error:
            print(f"{error}\n/reset starts a new conversation.")
            return
        self._turns = [*turns, {"role": "assistant", "content": text}]

    def _stream(self, messages: list[dict[str, str]]) -> str:
        text, num_tokens, first = "", 0, 0.0
        start = time.monotonic()
        for delta in self._llm.stream(self._llm.chat_prompt(messages), self._params):
            first = first or time.monotonic()
            text += delta.text
            num_tokens += len(delta.token_ids)
            print(delta.text, end="", flush=True)
        decode = time.monotonic() - first
        rate = f", {(num_tokens - 1) / decode:.1f} tokens/s" if num_tokens > 1 and decode > 0 else ""
        print(f"\n({num_tokens} tokens, first after {1000 * (first - start):.0f} ms{rate})", file=sys.stderr)
        return text


def _import_readline() -> None:
    """Line editing and history for `input`, where Python was built with it."""
    try:
        import readline  # noqa: F401
    except ImportError:
        return
