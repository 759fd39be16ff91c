"""`Request`: one choice of one `EngineRequest`, as the scheduler sees it.

Knows token ids and blocks. There is no prefill state and no decode state: a request knows `num_tokens`
tokens, `num_computed_tokens` of them have KV, and it is given work until the two meet.
"""

import enum
from dataclasses import dataclass, field

from gradus.engine.block_pool import BlockHash, BlockId, hash_block, root_hash
from gradus.engine.logit_edits import EditState
from gradus.engine.prompt_rows import PromptRows
from gradus.messages import EngineRequest
from gradus.outputs import RequestMetrics

SortKey = tuple[int, int, int]  # priority (0 under fcfs), arrival, choice index: smaller is served earlier


class RequestStatus(enum.Enum):
    PARKED = enum.auto()  # waits for its leader to have computed the prompt they share
    WAITING = enum.auto()  # in the queue, new or preempted
    RUNNING = enum.auto()  # resident: holds blocks and a seat
    FINISHED = enum.auto()


@dataclass(slots=True, eq=False)
class Request:
    """One choice.

    Attributes:
        leader: choice 0 of the same request, from which this one may fork; None for choice 0 itself.
        followers: choices parked until this one's prompt is computed.
        token_ids: prompt, then output; all accepted.
        edits: what it does to its logits, if anything.
        prompt_rows: what it wants to know about its prompt, if anything.
        num_computed_tokens: the first so many have KV in the blocks of `block_table`.
        num_registered_blocks: leading blocks already offered to the prefix cache.
        prefill_end: tokens known at admission; the request is catching up until so many are computed.
        seat: 0 to max_num_seqs - 1 while resident; -1 otherwise.
        num_seated_blocks: how much of `block_table` the batch builder has in the seat's row; -1: nothing.
    """

    engine_request: EngineRequest
    choice_index: int
    sort_key: SortKey
    token_ids: list[int]
    leader: "Request | None" = None
    followers: list["Request"] = field(default_factory=list)
    edits: EditState | None = None
    prompt_rows: PromptRows | None = None
    status: RequestStatus = RequestStatus.WAITING
    num_computed_tokens: int = 0
    block_table: list[BlockId] = field(default_factory=list)
    block_hashes: list[BlockHash] = field(default_factory=list)
    num_registered_blocks: int = 0
    prefill_end: int = 0
    seat: int = -1
    num_seated_blocks: int = -1
    metrics: RequestMetrics = field(default_factory=RequestMetrics)

    @property
    def request_id(self) -> str:
        return self.engine_request.request_id

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.engine_request.prompt_token_ids)

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_generated_tokens(self) -> int:
        return len(self.token_ids) - len(self.engine_request.prompt_token_ids)

    @property
    def num_reusable_tokens(self) -> int:
        """KV that may be reused at most: the last token gives the logits, and wanted rows are computed."""
        most = len(self.token_ids) - 1
        rows = self.prompt_rows
        return most if rows is None or rows.is_complete else min(most, rows.num_taken)

    @property
    def reads_prefix_cache(self) -> bool:
        """Whether its prompt is looked up: not if the first choice has it, or all its rows are wanted."""
        return self.leader is None and (self.prompt_rows is None or self.num_reusable_tokens > 0)

    @property
    def is_prefilling(self) -> bool:
        return self.num_computed_tokens < self.prefill_end

    def block_hash(self, index: int, block_size: int) -> BlockHash:
        """The content hash of full block `index`, computed once; `num_tokens` must reach the block's end."""
        hashes = self.block_hashes
        while len(hashes) <= index:
            start = len(hashes) * block_size
            parent = hashes[-1] if hashes else root_hash(self.engine_request.cache_salt)
            hashes.append(hash_block(parent, self.token_ids[start : start + block_size]))
        return hashes[index]
