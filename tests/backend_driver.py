"""Drives a `Backend` without the engine: greedy generation, with the work cut up at random.

Which sequences share a step, how long a prompt's chunks are, and which blocks a sequence gets are drawn from
a seed, so that one run meets many shapes of batch and the same run can be had again. Knows batches; nothing
of models, tokenizers or the scheduler.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gradus.batch import Backend, Batch, Float32, SamplingBatch

Mutate = Callable[[Batch], None]
"""Spoils a batch in place, to see whether a test notices."""


@dataclass(slots=True)
class Generation:
    """What one prompt gave: tokens, and the raw logits that each came from, [num_tokens, vocab_size]."""

    token_ids: list[int]
    logits: Float32


@dataclass(slots=True)
class _Running:
    token_ids: list[int]
    num_prompt_tokens: int
    num_computed_tokens: int = 0
    block_ids: list[int] = field(default_factory=list)
    logits: list[Float32] = field(default_factory=list)

    @property
    def num_generated(self) -> int:
        return len(self.token_ids) - self.num_prompt_tokens


class BackendDriver:
    """Generates greedily on a backend; `mutate` sees each batch before the backend does."""

    def __init__(
        self, backend: Backend, *, max_num_batched_tokens: int, seed: int = 0, mutate: Mutate | None = None
    ) -> None:
        self._backend = backend
        self._budget = max_num_batched_tokens
        self._random = np.random.default_rng(seed)
        self._mutate = mutate
        self._free_blocks = [int(block) for block in self._random.permutation(backend.num_blocks)]

    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[Generation]:
        """`max_tokens` tokens for each prompt; end-of-sequence tokens are tokens like others."""
        sequences = [_Running(list(prompt), len(prompt)) for prompt in prompts]
        running = list(sequences)
        while running:
            self._step(running)
            for done in [sequence for sequence in running if sequence.num_generated == max_tokens]:
                running.remove(done)
                self._free_blocks.extend(done.block_ids)
        return [Generation(s.token_ids[s.num_prompt_tokens :], np.stack(s.logits)) for s in sequences]

    def _step(self, running: list[_Running]) -> None:
        work = self._choose_work(running)
        batch = self._batch(work)
        if self._mutate is not None:
            self._mutate(batch)
        result = self._backend.execute(batch)
        assert result.logits is not None
        output = 0
        for sequence, num_tokens in work:
            sequence.num_computed_tokens += num_tokens
            if sequence.num_computed_tokens == len(sequence.token_ids):
                sequence.token_ids.append(int(result.token_ids[output, 0]))
                sequence.logits.append(result.logits[output].copy())
                output += 1

    def _choose_work(self, running: list[_Running]) -> list[tuple[_Running, int]]:
        """Some sequences in some order, each with its number of tokens, within the budget."""
        room = self._budget
        work = []
        for index in self._random.permutation(len(running)):
            sequence = running[index]
            num_tokens = min(len(sequence.token_ids) - sequence.num_computed_tokens, room)
            if num_tokens > 1 and self._random.random() < 0.7:
                num_tokens = int(self._random.integers(1, num_tokens + 1))
            if num_tokens:
                work.append((sequence, num_tokens))
                room -= num_tokens
        return work

    def _batch(self, work: list[tuple[_Running, int]]) -> Batch:
        block_size = self._backend.block_size
        positions, token_ids, slots, output_rows = [], [], [], []
        query_start = [0]
        for sequence, num_tokens in work:
            end = sequence.num_computed_tokens + num_tokens
            while len(sequence.block_ids) * block_size < end:
                sequence.block_ids.append(self._free_blocks.pop())
            for position in range(sequence.num_computed_tokens, end):
                positions.append(position)
                token_ids.append(sequence.token_ids[position])
                slots.append(sequence.block_ids[position // block_size] * block_size + position % block_size)
            query_start.append(len(token_ids))
            if end == len(sequence.token_ids):
                output_rows.append(len(token_ids) - 1)
        return Batch(
            token_ids=np.array(token_ids, np.int32),
            positions=np.array(positions, np.int32),
            slot_mapping=np.array(slots, np.int64),
            query_start=np.array(query_start, np.int32),
            context_lens=np.array([s.num_computed_tokens + n for s, n in work], np.int32),
            block_tables=_padded([sequence.block_ids for sequence, _ in work]),
            block_copies=np.empty((0, 2), np.int32),
            output_rows=np.array(output_rows, np.int32),
            sampling=greedy(np.array([positions[row] + 1 for row in output_rows], np.int32)),
            return_logits=True,
        )


def greedy(position: np.ndarray) -> SamplingBatch:
    """Greedy sampling without logprobs; `position` as in `SamplingBatch`."""
    num_outputs = len(position)
    return SamplingBatch(
        temperature=np.zeros(num_outputs, np.float32),
        top_p=np.ones(num_outputs, np.float32),
        top_k=np.zeros(num_outputs, np.int32),
        min_p=np.zeros(num_outputs, np.float32),
        seed=np.zeros(num_outputs, np.int64),
        choice_index=np.zeros(num_outputs, np.int32),
        position=position,
        num_logprobs=np.full(num_outputs, -1, np.int32),
    )


def _padded(tables: list[list[int]]) -> np.ndarray:
    """Block tables as one array, [num_seqs, max_blocks], unused entries -1."""
    padded = np.full((len(tables), max(map(len, tables))), -1, np.int32)
    for row, table in zip(padded, tables, strict=True):
        row[: len(table)] = table
    return padded
