"""The boundary between engine and backend: a `Batch` of NumPy arrays goes in, a `StepResult` comes out.

Nothing else crosses it. One step computes `num_tokens` tokens of `num_seqs` sequences, concatenated; rows of
one sequence are consecutive positions. A sequence whose last known token is computed in the step has an
output row, from which the backend samples; other rows may be output rows too, to score the token that follows
or for their hidden states.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
UInt32 = NDArray[np.uint32]
Float32 = NDArray[np.float32]

DRAW = -1  # of `SamplingBatch.targets`: draw a token
NOTHING = -2  # the row is wanted for its hidden state alone


@dataclass(slots=True, kw_only=True)
class LogitEdits:
    """What is done to the logits of some output rows before a token is chosen, in this order.

    First tokens outside the row's mask get -inf. Then biases are added; -inf forbids a token. Then, for the
    tokens that the row lists as seen: those of the prompt and the output have positive logits divided and
    negative ones multiplied by `repetition_penalty`; frequency_penalty * count is subtracted; and
    presence_penalty is, where the count is not 0. All in f32, each operation rounded.

    Ragged arrays are flat: those of edited row e are [start[e] : start[e + 1]]. A token is listed once in
    `seen_ids`; in `bias_ids` it may be listed again.
    """

    rows: Int32  # [num_edited] output rows, ascending
    mask_index: Int32  # [num_edited] which of `masks` holds; -1: all tokens are allowed
    masks: UInt32  # [num_masks, ceil(vocab_size / 32)] token t is allowed if bit t % 32 of word t // 32 is 1
    bias_start: Int32  # [num_edited + 1]
    bias_ids: Int32
    biases: Float32
    seen_start: Int32  # [num_edited + 1]
    seen_ids: Int32
    seen_counts: Int32  # how often the token is in the output; 0: in the prompt only
    repetition_penalty: Float32  # [num_edited] 1 is off
    frequency_penalty: Float32  # [num_edited] 0 is off
    presence_penalty: Float32  # [num_edited] 0 is off


@dataclass(slots=True, kw_only=True)
class SamplingBatch:
    """How each output row is sampled; every array is [num_outputs].

    A row with a target is not sampled: its result is that token, with its logprob and rank. Randomness is
    counter-based: the draw depends on (seed, choice_index, position) and nothing else, where position is the
    index in the sequence that the sampled token will have.
    """

    temperature: Float32  # 0 is greedy
    top_p: Float32  # 1 is off
    top_k: Int32  # 0 is off
    min_p: Float32  # 0 is off
    seed: Int64
    choice_index: Int32
    position: Int32
    num_logprobs: Int32  # -1: no logprobs for this row; 0..20: the sampled token's and that many likeliest
    targets: Int32 | None = None  # a token id to score, DRAW or NOTHING; None: draw everywhere
    edits: LogitEdits | None = None  # None: logits are taken as they are


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
    output_rows: Int32  # [num_outputs] rows of this step's tokens to sample from or to score, ascending
    sampling: SamplingBatch
    return_logits: bool = False  # for tests and scoring: also return the raw logits
    return_hidden: bool = False  # for embeddings: also return what lm_head reads

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
    logits hold NaN or +inf, or that no token is possible, before or after edits; the engine fails that
    request. Logprobs are natural logs under the softmax of the raw logits, before edits, temperature and
    truncation. Ties in rank go to the lower token id.
    """

    token_ids: Int32  # [num_outputs, k]
    num_sampled: Int32  # [num_outputs]
    logprobs: Float32  # [num_outputs, k] of the sampled tokens; 0 where not asked for
    ranks: Int32  # [num_outputs, k] of the sampled tokens, 1 is the likeliest; 0 where not asked for
    top_token_ids: Int32  # [num_outputs, max(num_logprobs)] likeliest first; -1 beyond a row's own number
    top_logprobs: Float32  # [num_outputs, max(num_logprobs)]
    logits: Float32 | None = None  # [num_outputs, vocab_size] if asked for
    hidden: Float32 | None = None  # [num_outputs, hidden_size] if asked for


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
