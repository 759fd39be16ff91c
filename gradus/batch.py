"""The boundary between engine and backend: a `Batch` of NumPy arrays goes in, a `StepResult` comes out.

Nothing else crosses it. One step computes `num_tokens` tokens of `num_seqs` sequences, concatenated; rows of
one sequence are consecutive positions. A sequence whose last known token is computed in the step has one
output row, from which the backend samples.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(slots=True, kw_only=True)
class SamplingBatch:
    """How each output row is sampled; every array is [num_outputs].

    Randomness is counter-based: the draw depends on (seed, choice_index, position) and nothing else, where
    position is the index in the sequence that the sampled token will have.
    """

    temperature: Float32  # 0 is greedy
    top_p: Float32  # 1 is off
    top_k: Int32  # 0 is off
    seed: Int64
    choice_index: Int32
    position: Int32
    num_logprobs: Int32  # -1: no logprobs for this row; 0..20: the sampled token's and that many likeliest


@dataclass(slots=True, kw_only=True)
class Batch:
    """One step's work."""

    token_ids: Int32  # [num_tokens]
    positions: Int32  # [num_tokens]
    slot_mapping: Int64  # [num_tokens] block_id * block_size + offset, where the token's K and V are written
    query_start: Int32  # [num_seqs + 1] rows of sequence i are query_start[i]:query_start[i + 1]
    context_lens: Int32  # [num_seqs] tokens with KV once this step is done: last position + 1
    block_tables: Int32  # [num_seqs, max_blocks], unused entries -1
    block_copies: Int32  # [num_copies, 2] (source, destination) blocks, copied before anything else
    output_rows: Int32  # [num_outputs] rows of this step's tokens to sample from, ascending
    sampling: SamplingBatch
    return_logits: bool = False  # for tests and scoring: also return the raw logits

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_seqs(self) -> int:
        return len(self.context_lens)

    @property
    def num_outputs(self) -> int:
        return len(self.output_rows)


@dataclass(slots=True, kw_only=True)
class StepResult:
    """What one step gave, row i belonging to `Batch.output_rows[i]`.

    An output row yields `num_sampled[i]` tokens (0 to k): k is 1 without speculation. 0 says that the row's
    logits hold NaN or +inf, or no possible token; the engine fails that request. Logprobs are natural
    logs under the softmax of the raw logits, before temperature and truncation. Ties in rank go to the lower
    token id.
    """

    token_ids: Int32  # [num_outputs, k]
    num_sampled: Int32  # [num_outputs]
    logprobs: Float32  # [num_outputs, k] of the sampled tokens; 0 where not asked for
    ranks: Int32  # [num_outputs, k] of the sampled tokens, 1 is the likeliest; 0 where not asked for
    top_token_ids: Int32  # [num_outputs, max(num_logprobs)] likeliest first; -1 beyond a row's own number
    top_logprobs: Float32  # [num_outputs, max(num_logprobs)]
    logits: Float32 | None = None  # [num_outputs, vocab_size] if asked for


class Backend(Protocol):
    """A loaded model with its KV cache on some device."""

    @property
    def block_size(self) -> int:
        """Tokens per KV block."""

    @property
    def num_blocks(self) -> int:
        """KV blocks that exist; ids are 0 to num_blocks - 1."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""

    def execute(self, batch: Batch) -> StepResult:
        """Run one step. Blocking; releases the GIL where the work is.

        Raises:
            BackendError: the step failed and the KV of the blocks it wrote is undefined.
        """

    def close(self) -> None:
        """Free threads and memory; the backend is unusable afterwards."""
