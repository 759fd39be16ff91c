"""Token ids and losses' weights of samples, packed into rows of one length for training."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from .base import Sample
from .stream import training_stream
from .template import render_prompt

TEXT_WEIGHT = 0.05  # of tokens that are not the answer's, so that the model also knows how questions read


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation as tokens; `weights[i]` is the loss weight of predicting `ids[i]`."""

    ids: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """What one training step reads.

    ids, documents: [rows, length]; chosen: [n], positions that have a loss, as row * length + column;
    targets, weights: [n].
    """

    ids: np.ndarray
    documents: np.ndarray
    chosen: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def encode(tokenizer: Tokenizer, sample: Sample) -> Encoded:
    prompt_text = render_prompt(sample.messages[:-1], sample.tools, sample.thinking)
    prompt = tokenizer.encode(prompt_text, add_special_tokens=False).ids
    answer = tokenizer.encode(sample.answer + "<|im_end|>", add_special_tokens=False).ids
    head = tokenizer.encode("<|im_start|>assistant\n").ids
    weights = [TEXT_WEIGHT] * len(prompt)
    for i in range(len(prompt) - len(head)):
        # How an earlier answer begins is not learned here: it has no thought, not even an empty one,
        # while a model that may think must begin with one.
        if prompt[i : i + len(head)] == head:
            weights[i + len(head)] = 0.0
    return Encoded(prompt + answer, weights + [1.0] * len(answer))


class Packer:
    """Packs conversations into rows, the longest first; what does not fit waits for the next batch."""

    def __init__(
        self, tokenizer: Tokenizer, rows: int, length: int, seed: int, stage: int = 0, long: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._rows, self._length = rows, length
        self._samples = training_stream(seed, stage, long)
        self._waiting: list[Encoded] = []
        self._rng = random.Random(seed)
        # Enough for all answer tokens in practice; a fixed number keeps the compiled shapes fixed.
        self._num_chosen = rows * length * 2 // 5

    def __iter__(self) -> Iterator[PackedBatch]:
        while True:
            yield self._batch(self._fill())

    def _fill(self) -> list[list[Encoded]]:
        size = sum(len(item.ids) for item in self._waiting)
        while size < self._rows * self._length:
            item = encode(self._tokenizer, next(self._samples))
            if len(item.ids) <= self._length:
                self._waiting.append(item)
                size += len(item.ids)
        rows: list[list[Encoded]] = [[] for _ in range(self._rows)]
        room = [self._length] * self._rows
        left = []
        for item in sorted(self._waiting, key=lambda item: -len(item.ids)):
            row = next((i for i in range(self._rows) if room[i] >= len(item.ids)), None)
            if row is None:
                left.append(item)
            else:
                rows[row].append(item)
                room[row] -= len(item.ids)
        self._waiting = left
        return rows

    def _batch(self, rows: list[list[Encoded]]) -> PackedBatch:
        ids = np.zeros((self._rows, self._length), dtype=np.int64)
        documents = np.full((self._rows, self._length), -1, dtype=np.int64)
        weights = np.zeros((self._rows, self._length), dtype=np.float32)
        for r, row in enumerate(rows):
            start = 0
            for number, item in enumerate(row):
                stop = start + len(item.ids)
                ids[r, start:stop] = item.ids
                documents[r, start:stop] = number
                weights[r, start + 1 : stop] = item.weights[1:]  # nothing predicts a document's first token
                start = stop
        return self._choose(ids, documents, weights)

    def _choose(self, ids: np.ndarray, documents: np.ndarray, weights: np.ndarray) -> PackedBatch:
        """Take every answer token, then other tokens at random, up to the fixed number."""
        flat = weights.ravel()
        noise = np.random.default_rng(self._rng.getrandbits(32)).random(flat.size)
        order = np.argsort(-(flat + 0.5 * TEXT_WEIGHT * noise))
        # A position predicts the next one; the first column has weight zero.
        predicted = np.maximum(np.sort(order[: self._num_chosen]), 1)
        return PackedBatch(ids, documents, predicted - 1, ids.ravel()[predicted], flat[predicted])
