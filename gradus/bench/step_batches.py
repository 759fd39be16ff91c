"""Batches that look like an engine's steps: sequences of one length, each in blocks of its own.

Keys and values before the step are whatever the cache holds; the time of a step does not depend on them.
"""

from dataclasses import dataclass

import numpy as np

from gradus.batch import Batch, SamplingBatch


@dataclass(frozen=True, slots=True)
class StepShape:
    """`num_seqs` sequences of `context` tokens each that compute `num_new` more and sample once."""

    name: str
    num_seqs: int
    num_new: int
    context: int

    @property
    def num_tokens(self) -> int:
        return self.num_seqs * self.num_new

    @property
    def length(self) -> int:
        """Tokens of a sequence after the step."""
        return self.context + self.num_new

    @property
    def num_context(self) -> int:
        """Tokens of all sequences after the step."""
        return self.num_seqs * self.length

    @property
    def num_attended(self) -> int:
        """Pairs of a token of the step and a token that it attends to."""
        before, new = self.context, self.num_new
        return self.num_seqs * (new * before + new * (new + 1) // 2)

    @property
    def num_sampled_attended(self) -> int:
        """The same pairs of the tokens that are sampled from, the last of each sequence."""
        return self.num_seqs * self.length

    def num_blocks(self, block_size: int) -> int:
        return self.num_seqs * -(-self.length // block_size)


def decode_shape(num_seqs: int, context: int) -> StepShape:
    return StepShape(f"decode {num_seqs}", num_seqs, 1, context)


def prefill_shape(num_tokens: int) -> StepShape:
    return StepShape(f"prefill {num_tokens}", 1, num_tokens, 0)


def make_batch(shape: StepShape, block_size: int, vocab_size: int) -> Batch:
    """The step's batch: random tokens, greedy, no logprobs."""
    per_seq = -(-shape.length // block_size)
    tables = np.arange(shape.num_seqs * per_seq, dtype=np.int32).reshape(shape.num_seqs, per_seq)
    new = np.arange(shape.context, shape.length)
    slots = tables[:, new // block_size].astype(np.int64) * block_size + new % block_size
    starts = np.arange(shape.num_seqs + 1, dtype=np.int32) * shape.num_new
    return Batch(
        token_ids=np.random.default_rng(0).integers(vocab_size, size=shape.num_tokens, dtype=np.int32),
        positions=np.tile(new, shape.num_seqs).astype(np.int32),
        slot_mapping=slots.reshape(-1),
        query_start=starts,
        context_lens=np.full(shape.num_seqs, shape.length, np.int32),
        block_tables=tables,
        block_copies=np.empty((0, 2), np.int32),
        output_rows=starts[1:] - 1,
        sampling=_greedy(shape),
    )


def _greedy(shape: StepShape) -> SamplingBatch:
    n = shape.num_seqs
    return SamplingBatch(
        temperature=np.zeros(n, np.float32),
        top_p=np.ones(n, np.float32),
        top_k=np.zeros(n, np.int32),
        min_p=np.zeros(n, np.float32),
        seed=np.zeros(n, np.int64),
        choice_index=np.zeros(n, np.int32),
        position=np.full(n, shape.length, np.int32),
        num_logprobs=np.full(n, -1, np.int32),
    )
