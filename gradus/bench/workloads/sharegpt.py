"""Conversations of people with a chat model: from a file in ShareGPT's format, or only their lengths.

The file is a JSON list of `{"conversations": [{"from": ..., "value": ...}, ...]}`. A conversation's first
message is the prompt, and its second, the recorded reply, says how many tokens to generate. Very short and
very long ones are left out by the limits of vLLM's benchmarks (`vllm/benchmarks/datasets.py`).
"""

import json
from dataclasses import dataclass
from math import ceil, log
from pathlib import Path
from random import Random
from typing import Any

from gradus.bench.workloads.base import Encode, Workload, WorkloadRequest, random_tokens
from gradus.bench.workloads.text import TextWorkload, TokenizedWorkload
from gradus.errors import ConfigError

MIN_LEN = 4  # tokens in, and out
MAX_INPUT_LEN = 1024
MAX_CONTEXT = 2048


@dataclass(frozen=True, kw_only=True)
class ShareGptFile(TextWorkload):
    """`num_requests` conversations of the file at `path`, chosen by `seed`."""

    path: str
    num_requests: int
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_requests")

    @property
    def lengths(self) -> str:
        return f"{self.num_requests} conversations of {self.path}"

    def with_tokenizer(self, encode: Encode) -> TokenizedWorkload:
        """Raises:
        ConfigError: the file cannot be read, is of another format, or has too few usable conversations.
        """
        conversations = _conversations(self.path)
        Random(self.seed).shuffle(conversations)
        chosen: list[tuple[tuple[int, ...], int]] = []
        for asked, replied in conversations:
            prompt, output_len = tuple(encode(asked)), len(encode(replied))
            if _is_usable(len(prompt), output_len):
                chosen.append((prompt, output_len))
            if len(chosen) == self.num_requests:
                break
        if len(chosen) < self.num_requests:
            raise ConfigError(
                f"num_requests is {self.num_requests}, but {self.path} has {len(chosen)} conversations of "
                f"{MIN_LEN} to {MAX_INPUT_LEN} tokens in, at most {MAX_CONTEXT} altogether; lower it to that"
            )
        prompts, output_lens = zip(*chosen, strict=True)
        return TokenizedWorkload(
            name=self.name, concurrency=self.concurrency, prompts=prompts, output_lens=output_lens
        )


@dataclass(frozen=True, kw_only=True)
class ShareGptLengths(Workload):
    """Random tokens with the mean lengths that are published for ShareGPT; nothing of its text.

    Published are 161.31 tokens in and 337.99 out on average. Of the distributions with such a mean over
    1, 2, 3, ... the geometric one assumes least; a round's lengths are its quantiles at (i + 1/2) / n, in a
    random order, the same in every round.
    Source: Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with
    PagedAttention", section 6.1 and figure 11 (arXiv 2309.06180).
    """

    num_requests: int
    mean_input_len: float = 161.31
    mean_output_len: float = 337.99
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "num_requests")
        self._check_at_least(2, "mean_input_len", "mean_output_len")

    @property
    def max_context(self) -> int:
        return MAX_CONTEXT

    @property
    def lengths(self) -> str:
        return (
            f"{self.num_requests} requests of random tokens, of lengths about ShareGPT's published means of "
            f"{self.mean_input_len:g} in and {self.mean_output_len:g} out"
        )

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        draw = Random(f"{self.name}/{round_index}")
        shuffle = Random(self.seed).shuffle
        input_lens = _geometric_quantiles(self.mean_input_len, self.num_requests)
        output_lens = _geometric_quantiles(self.mean_output_len, self.num_requests)
        shuffle(output_lens)
        pairs = [
            (min(input_len, MAX_INPUT_LEN), output_len)
            for input_len, output_len in zip(input_lens, output_lens, strict=True)
        ]
        shuffle(pairs)
        return [
            WorkloadRequest(
                random_tokens(draw, input_len, vocab_size), min(output_len, MAX_CONTEXT - input_len)
            )
            for input_len, output_len in pairs
        ]


def _geometric_quantiles(mean: float, count: int) -> list[int]:
    """The least k with 1 - (1 - 1/mean)^k >= q, for each q."""
    return [ceil(log(1 - (i + 0.5) / count) / log(1 - 1 / mean)) for i in range(count)]


def _is_usable(input_len: int, output_len: int) -> bool:
    is_long_enough = input_len >= MIN_LEN and output_len >= MIN_LEN
    return is_long_enough and input_len <= MAX_INPUT_LEN and input_len + output_len <= MAX_CONTEXT


def _conversations(path: str) -> list[tuple[str, str]]:
    """The first two messages of each conversation that has them."""
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the workload's file {path} cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise ConfigError(f"{path} is not in ShareGPT's format: it must be a JSON list of conversations")
    return [
        pair for index, entry in enumerate(entries) if (pair := _first_two(entry, index, path)) is not None
    ]


def _first_two(entry: Any, index: int, path: str) -> tuple[str, str] | None:
    try:
        messages = [message["value"] for message in entry["conversations"][:2]]
        if not all(isinstance(message, str) for message in messages):
            raise TypeError("a value is not text")
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is not in ShareGPT's format: entry {index} must have conversations, a list of messages "
            f"with a value of text ({type(error).__name__}: {error})"
        ) from error
    return (messages[0], messages[1]) if len(messages) == 2 else None
