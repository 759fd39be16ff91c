"""How a runner talks: commands come as lines of JSON on standard input, each is answered by one line.

    {"command": "load", "model": PATH, "num_threads": N, "num_sequences": N, "context": TOKENS,
     "options": {...}}
    {"command": "run", "prompts": [[id, ...], ...], "output_len": N, "concurrency": N}

An answer is a JSON object, or {"error": text}. Between commands a runner sleeps in a read. Needs the standard
library only, since the interpreter is that of the engine's own environment. What its libraries print goes to
standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Runner(Protocol):
    """One engine."""

    def load(self, command: dict[str, Any]) -> dict[str, Any]:
        """Make `model` ready for `num_sequences` at a time of `context` tokens each; gives its versions.

        `options` are the engine's own.
        """

    def run(self, command: dict[str, Any]) -> list[dict[str, Any]]:
        """Run prompts, greedy and past the end of the sequence; each one's times: see `Clock.timing`."""


class Clock:
    """Seconds since a run began, and what was seen of its requests."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self._begin

    @staticmethod
    def timing(
        start: float, first_token: float, end: float, prompt: Sequence[int], count: int
    ) -> dict[str, Any]:
        return {
            "start": start,
            "first_token": first_token,
            "end": end,
            "num_prompt_tokens": len(prompt),
            "num_output_tokens": count,
        }


class Loop(Protocol):
    """An engine's side of a closed loop."""

    def start(self, index: int, prompt: list[int]) -> None:
        """Take a prompt in."""

    def step(self) -> dict[int, int]:
        """Compute; how many tokens each prompt in flight got."""

    def finish(self, index: int) -> None:
        """The prompt has all its tokens."""


def closed_loop(
    loop: Loop, prompts: Sequence[list[int]], output_len: int, concurrency: int
) -> list[dict[str, Any]]:
    """Run all prompts, `concurrency` at a time; the next begins as soon as one ends."""
    clock, waiting, timings = Clock(), list(enumerate(prompts)), {}
    starts: dict[int, float] = {}
    firsts: dict[int, float] = {}
    counts: dict[int, int] = {}
    waiting.reverse()
    while waiting or counts:
        while waiting and len(counts) < concurrency:
            index, prompt = waiting.pop()
            starts[index], counts[index] = clock.now(), 0
            loop.start(index, prompt)
        given = loop.step()
        now = clock.now()
        for index, count in given.items():
            if count:
                firsts.setdefault(index, now)
            counts[index] += count
            if counts[index] >= output_len:
                loop.finish(index)
                timings[index] = Clock.timing(
                    starts[index], firsts[index], now, prompts[index], counts.pop(index)
                )
    return [timings[index] for index in range(len(prompts))]


def serve(runner: Runner) -> None:
    """Answer a runner's commands until standard input ends."""
    answer_commands(
        {
            "load": lambda command: {"software": runner.load(command)},
            "run": lambda command: {"requests": runner.run(command)},
        }
    )


def answer_commands(handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
    """Answer commands by name until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the engine's libraries print must not be taken for an answer
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = handlers[command["command"]](command)
        except Exception as error:  # whatever it is, the other side has to be told
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
