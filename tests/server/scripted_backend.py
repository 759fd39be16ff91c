"""A backend that says what the test wrote: the next token is a function of the sequence's own tokens.

It keeps the tokens of every block, as a KV cache would, so prefix hits and preemption read what was written.
"""

import threading
import time
from collections.abc import Callable

import numpy as np

from gradus.batch import Batch, LogitEdits, SamplingBatch, StepResult
from gradus.errors import BackendError

NextToken = Callable[[list[int], int], int]  # (tokens so far, choice index) -> next token


def _obey(edits: LogitEdits, tokens: np.ndarray) -> None:
    """Where a mask forbids what the script says, the first token that it allows comes instead."""
    for row, index in zip(edits.rows.tolist(), edits.mask_index.tolist(), strict=True):
        if index >= 0:
            allowed = np.unpackbits(edits.masks[index].view(np.uint8), bitorder="little")
            if not allowed[tokens[row, 0]]:
                tokens[row] = np.flatnonzero(allowed)[0]


class ScriptedBackend:
    """Deterministic. `delay` is a step's time; `gate`, when cleared, holds the next step."""

    block_size = 16

    def __init__(
        self, next_token: NextToken, vocab_size: int, num_blocks: int = 512, delay: float = 0.0
    ) -> None:
        self.next_token = next_token
        self.vocab_size = vocab_size
        self.num_blocks = num_blocks
        self.delay = delay
        self.fail = False
        self.last_sampling: SamplingBatch | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._tokens = np.zeros((num_blocks, self.block_size), np.int32)

    def execute(self, batch: Batch) -> StepResult:
        self.gate.wait(60)
        if self.delay:
            time.sleep(self.delay)
        if self.fail:
            raise BackendError("the script says that this step fails")
        for source, destination in batch.block_copies.tolist():
            self._tokens[destination] = self._tokens[source]
        self._tokens.reshape(-1)[batch.slot_mapping] = batch.token_ids
        sampling, num_outputs = batch.sampling, batch.num_outputs
        self.last_sampling = sampling
        num_top = max(0, int(sampling.num_logprobs.max(initial=0)))
        tokens = np.zeros((num_outputs, 1), np.int32)
        for row, output_row in enumerate(batch.output_rows.tolist()):
            sequence = int(np.searchsorted(batch.query_start, output_row, side="right")) - 1
            blocks = batch.block_tables[sequence]
            blocks = blocks[blocks >= 0]
            context = self._tokens[blocks].reshape(-1)[: batch.context_lens[sequence]].tolist()
            tokens[row] = self.next_token(context, int(sampling.choice_index[row]))
        if sampling.edits is not None:
            _obey(sampling.edits, tokens)
        if sampling.targets is not None:
            tokens[:, 0] = np.where(sampling.targets >= 0, sampling.targets, tokens[:, 0])
        top = (tokens + np.arange(num_top, dtype=np.int32)) % self.vocab_size
        return StepResult(
            token_ids=tokens,
            num_sampled=np.ones(num_outputs, np.int32),
            logprobs=np.full((num_outputs, 1), -0.25, np.float32),
            ranks=np.ones((num_outputs, 1), np.int32),
            top_token_ids=top.astype(np.int32),
            top_logprobs=np.tile(-0.25 - np.arange(num_top, dtype=np.float32), (num_outputs, 1)),
        )

    def close(self) -> None:
        self.gate.set()
