"""A backend without a model, whose tokens depend on the KV that it really finds through the block tables.

Its "KV" of a token is the token, its position and a digest of all before it, found through the block table as
a model's attention would, and stored in the slot that the batch says. An output row's next token is a hash of
the whole context read back through the block table. So whatever goes wrong
in scheduling, paging, caching or copying changes tokens or raises; `expected_output` says what is right and
uses no engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate

import numpy as np

from gradus.batch import DRAW, Batch, StepResult
from gradus.errors import BackendError
from gradus.messages import EngineRequest

UNDEFINED = -7


class BatchError(AssertionError):
    """The engine built a batch that cannot be right."""


def next_token(context: np.ndarray, temperature: float, seed: int, choice: int, vocab_size: int) -> int:
    """The token after `context`; greedy tokens depend on nothing else."""
    draw = (seed, choice, len(context)) if temperature > 0 else ()
    digest = blake2b(np.asarray(context, np.int32).tobytes() + repr(draw).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % vocab_size


def score(context: list[int], token: int) -> float:
    """The "log probability" of a token of a prompt after what precedes it; exact in f32."""
    digest = list(accumulate(context, extend, initial=0))[-1]
    return -((digest * 31 + token) % 997) / 8


def expected_prompt_logprobs(prompt: list[int]) -> list[float]:
    return [score(prompt[:i], prompt[i]) for i in range(1, len(prompt))]


def extend(digest: int, token: int) -> int:
    """The digest of some tokens and one more."""
    return (digest * 1_000_003 + token + 1) % (2**31 - 1)


@dataclass
class Expected:
    token_ids: list[int]
    finish_reason: str
    stop_reason: int | None = None


def expected_output(
    request: EngineRequest, choice: int, vocab_size: int, poison: int | None = None
) -> Expected:
    """What choice `choice` must give if nothing aborts it and no step fails."""
    context = list(request.prompt_token_ids)
    output: list[int] = []
    params = request.params
    while True:
        if poison is not None and poison in context:
            return Expected(output, "error")
        token = next_token(np.array(context), params.temperature, request.seed, choice, vocab_size)
        context.append(token)
        output.append(token)
        if token in request.eos_token_ids:
            return Expected(output, "stop")
        if token in params.stop_token_ids:
            return Expected(output, "stop", token)
        if len(output) == request.max_tokens:
            return Expected(output, "length")


class FakeBackend:
    """Deterministic; checks every batch.

    Attributes:
        fail_when: asked with the step's number; true makes the step fail and ruins what it wrote.
        poison: rows whose context has this token have no finite logits.
        tokens_per_step: accepted tokens per output row, as speculation would give.
        batches: every batch that was executed, if `record`.
        defects: what was wrong with batches; the engine takes the exception for a failed step.
    """

    def __init__(
        self,
        num_blocks: int = 64,
        block_size: int = 16,
        vocab_size: int = 1000,
        *,
        poison: int | None = None,
        tokens_per_step: int = 1,
        fail_when: Callable[[int], bool] = lambda step: False,
        record: bool = False,
    ) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.vocab_size = vocab_size
        self.poison = poison
        self.tokens_per_step = tokens_per_step
        self.fail_when = fail_when
        self.record = record
        self.batches: list[Batch] = []
        self.defects: list[BatchError] = []
        self.num_steps = 0
        self._tokens = np.full((num_blocks, block_size), UNDEFINED, np.int32)
        self._positions = np.full((num_blocks, block_size), UNDEFINED, np.int32)
        self._digests = np.full((num_blocks, block_size), UNDEFINED, np.int64)

    def close(self) -> None:
        pass

    def execute(self, batch: Batch) -> StepResult:
        try:
            return self._execute(batch)
        except BatchError as defect:
            self.defects.append(defect)
            raise

    def _execute(self, batch: Batch) -> StepResult:
        self.num_steps += 1
        if self.record:
            self.batches.append(batch)
        self._check(batch)
        for source, destination in batch.block_copies.tolist():
            self._tokens[destination] = self._tokens[source]
            self._positions[destination] = self._positions[source]
            self._digests[destination] = self._digests[source]
        self._tokens.reshape(-1)[batch.slot_mapping] = batch.token_ids
        self._positions.reshape(-1)[batch.slot_mapping] = batch.positions
        for sequence in range(batch.num_seqs):
            self._write_digests(batch, sequence)
        if self.fail_when(self.num_steps):
            self._tokens.reshape(-1)[batch.slot_mapping] = UNDEFINED
            self._tokens[batch.block_copies[:, 1]] = UNDEFINED
            raise BackendError(f"step {self.num_steps} was made to fail")
        contexts = [self._read(batch, sequence) for sequence in range(batch.num_seqs)]
        return self._sample(batch, contexts)

    def _check(self, batch: Batch) -> None:
        """Shapes, types, and that no two rows write the same slot."""
        num_tokens, num_seqs, num_outputs = batch.num_tokens, batch.num_seqs, batch.num_outputs
        arrays = {
            "token_ids": (batch.token_ids, np.int32, (num_tokens,)),
            "positions": (batch.positions, np.int32, (num_tokens,)),
            "slot_mapping": (batch.slot_mapping, np.int64, (num_tokens,)),
            "query_start": (batch.query_start, np.int32, (num_seqs + 1,)),
            "context_lens": (batch.context_lens, np.int32, (num_seqs,)),
            "block_tables": (batch.block_tables, np.int32, (num_seqs, batch.block_tables.shape[1])),
            "block_copies": (batch.block_copies, np.int32, (len(batch.block_copies), 2)),
            "output_rows": (batch.output_rows, np.int32, (num_outputs,)),
            "temperature": (batch.sampling.temperature, np.float32, (num_outputs,)),
            "top_p": (batch.sampling.top_p, np.float32, (num_outputs,)),
            "top_k": (batch.sampling.top_k, np.int32, (num_outputs,)),
            "min_p": (batch.sampling.min_p, np.float32, (num_outputs,)),
            "seed": (batch.sampling.seed, np.int64, (num_outputs,)),
            "choice_index": (batch.sampling.choice_index, np.int32, (num_outputs,)),
            "position": (batch.sampling.position, np.int32, (num_outputs,)),
            "num_logprobs": (batch.sampling.num_logprobs, np.int32, (num_outputs,)),
        }
        for name, (array, dtype, shape) in arrays.items():
            if array.dtype != dtype or array.shape != shape or not array.flags.c_contiguous:
                raise BatchError(f"{name} is {array.dtype}{array.shape}; it should be {dtype}{shape}")
        if num_tokens == 0:
            raise BatchError("the batch is empty")
        if len(np.unique(batch.slot_mapping)) != num_tokens:
            raise BatchError("two rows write the same slot")
        starts = batch.query_start
        if starts[0] != 0 or starts[-1] != num_tokens or (np.diff(starts) < 1).any():
            raise BatchError(f"query_start is {starts}")
        if (np.diff(batch.output_rows) < 1).any():
            raise BatchError(f"output_rows is {batch.output_rows}")

    def _write_digests(self, batch: Batch, sequence: int) -> None:
        table = batch.block_tables[sequence].tolist()
        for row in range(batch.query_start[sequence], batch.query_start[sequence + 1]):
            position = int(batch.positions[row])
            digest = 0
            if position > 0:
                block, offset = divmod(position - 1, self.block_size)
                digest = int(self._digests[table[block], offset])
            self._digests.reshape(-1)[batch.slot_mapping[row]] = extend(digest, int(batch.token_ids[row]))

    def _read(self, batch: Batch, sequence: int) -> np.ndarray:
        """A sequence's context, token by token, as the block table leads to it."""
        length = int(batch.context_lens[sequence])
        rows = slice(batch.query_start[sequence], batch.query_start[sequence + 1])
        expected = np.arange(length - (rows.stop - rows.start), length)
        if not np.array_equal(batch.positions[rows], expected):
            raise BatchError(f"sequence {sequence} has {batch.positions[rows]}, not positions {expected}")
        table = batch.block_tables[sequence]
        num_blocks = -(-length // self.block_size)
        if num_blocks > len(table) or (table[:num_blocks] < 0).any():
            raise BatchError(f"sequence {sequence} has {length} tokens and block table {table}")
        positions = self._positions[table[:num_blocks]].reshape(-1)[:length]
        if not np.array_equal(positions, np.arange(length)):
            raise BatchError(f"sequence {sequence} reads positions {positions}")
        tokens = self._tokens[table[:num_blocks]].reshape(-1)[:length]
        digests = list(accumulate(tokens.tolist(), extend, initial=0))[1:]
        if self._digests[table[:num_blocks]].reshape(-1)[:length].tolist() != digests:
            raise BatchError(f"sequence {sequence} reads KV that was computed after other tokens")
        return tokens

    def _sample(self, batch: Batch, contexts: list[np.ndarray]) -> StepResult:
        sampling, k = batch.sampling, self.tokens_per_step
        max_logprobs = max(0, int(sampling.num_logprobs.max(initial=0)))
        shape = (batch.num_outputs, k)
        result = StepResult(
            token_ids=np.zeros(shape, np.int32),
            num_sampled=np.full(batch.num_outputs, k, np.int32),
            logprobs=np.zeros(shape, np.float32),
            ranks=np.zeros(shape, np.int32),
            top_token_ids=np.full((batch.num_outputs, max_logprobs), -1, np.int32),
            top_logprobs=np.zeros((batch.num_outputs, max_logprobs), np.float32),
        )
        sequence_of = np.searchsorted(batch.query_start, batch.output_rows, side="right") - 1
        for row, sequence in enumerate(sequence_of.tolist()):
            if sampling.targets is not None and sampling.targets[row] != DRAW:
                self._score_row(row, contexts[sequence], batch, result)
                continue
            if batch.output_rows[row] != batch.query_start[sequence + 1] - 1:
                raise BatchError(f"output row {batch.output_rows[row]} is not its sequence's last")
            if sampling.position[row] != len(contexts[sequence]):
                raise BatchError(f"position {sampling.position[row]} after {len(contexts[sequence])} tokens")
            self._sample_row(row, contexts[sequence], batch, result)
        return result

    def _score_row(self, row: int, context: np.ndarray, batch: Batch, result: StepResult) -> None:
        sampling = batch.sampling
        assert sampling.targets is not None
        target, position = int(sampling.targets[row]), int(batch.positions[batch.output_rows[row]])
        before = context[: position + 1]
        if sampling.position[row] != position + 1:
            raise BatchError(f"the row of position {position} scores the token at {sampling.position[row]}")
        if position + 1 < len(context) and context[position + 1] != target:
            raise BatchError(f"token {target} is scored where {context[position + 1]} is")
        result.num_sampled[row] = self.poison is None or not (before == self.poison).any()
        result.token_ids[row, 0] = target
        result.logprobs[row, 0], result.ranks[row, 0] = score(before.tolist(), target), 1
        num_top = int(sampling.num_logprobs[row])
        result.top_token_ids[row, :num_top] = (target + np.arange(num_top)) % self.vocab_size

    def _sample_row(self, row: int, context: np.ndarray, batch: Batch, result: StepResult) -> None:
        sampling = batch.sampling
        for index in range(self.tokens_per_step):
            if self.poison is not None and (context == self.poison).any():
                result.num_sampled[row] = index
                return
            token = next_token(
                context,
                float(sampling.temperature[row]),
                int(sampling.seed[row]),
                int(sampling.choice_index[row]),
                self.vocab_size,
            )
            result.token_ids[row, index] = token
            context = np.append(context, np.int32(token))
            if sampling.num_logprobs[row] >= 0:
                result.logprobs[row, index], result.ranks[row, index] = -token / 8, 1
        num_top = int(sampling.num_logprobs[row])
        for index in range(num_top):
            result.top_token_ids[row, index] = (result.token_ids[row, 0] + index) % self.vocab_size
            result.top_logprobs[row, index] = -index
