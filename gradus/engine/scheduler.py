"""What runs in the next step, and on which blocks.

One rule: every resident request has `num_tokens` it knows and `num_computed_tokens` whose KV exists, and each
step hands out one budget of tokens until the two meet. Chunked prefill, prefix hits, recompute after a
preemption and several accepted tokens per step are that rule. Knows nothing of models or of what tokens mean.
"""

import enum
import time
from bisect import insort
from dataclasses import dataclass, field

from gradus.config import SchedulerConfig
from gradus.engine.block_pool import BlockId, BlockPool
from gradus.engine.request import Request, RequestStatus
from gradus.engine.stats import EngineCounters
from gradus.engine.waiting_queue import WaitingQueue


@dataclass(slots=True)
class Step:
    """One step's work: `requests[i]` computes its next `num_new_tokens[i]` tokens.

    Attributes:
        budget: tokens that can still be given.
        block_copies: (source, destination), to be done before anything else.
    """

    budget: int
    requests: list[Request] = field(default_factory=list)
    num_new_tokens: list[int] = field(default_factory=list)
    block_copies: list[tuple[BlockId, BlockId]] = field(default_factory=list)

    def add(self, request: Request, num_new_tokens: int) -> None:
        self.requests.append(request)
        self.num_new_tokens.append(num_new_tokens)
        self.budget -= num_new_tokens


class StepKind(enum.Enum):
    """Which requests a step may serve.

    Under separated scheduling a request is in its prefill from its admission, the first or one after a
    preemption, until all tokens that it knew then are computed; from then on it decodes.
    """

    MIXED = enum.auto()
    PREFILL = enum.auto()
    DECODE = enum.auto()

    def serves(self, request: Request) -> bool:
        return self is StepKind.MIXED or (self is StepKind.PREFILL) == request.is_prefilling


@dataclass(slots=True)
class Reusable:
    """KV that a request need not compute: `blocks` shared whole, then part of `copy_source`, if any."""

    num_tokens: int
    blocks: list[BlockId]
    copy_source: BlockId | None = None


class Scheduler:
    """Owns the queue, the resident requests and the blocks.

    `running` is kept in serving order, and whoever needs a block takes it from the end. So a request that has
    been given tokens in the step under construction is never preempted in it, and the first one progresses.
    """

    def __init__(
        self, config: SchedulerConfig, pool: BlockPool, block_size: int, counters: EngineCounters
    ) -> None:
        self.config = config
        self.pool = pool
        self.block_size = block_size
        self.counters = counters
        self.waiting = WaitingQueue()
        self.running: list[Request] = []
        self.num_parked = 0
        self._free_seats = list(range(config.max_num_seqs - 1, -1, -1))
        self._last_kind = StepKind.DECODE

    @property
    def num_waiting(self) -> int:
        return len(self.waiting) + self.num_parked

    @property
    def has_work(self) -> bool:
        return bool(self.running) or len(self.waiting) > 0

    def add(self, request: Request) -> None:
        """Queue a choice. One that can fork from its leader first waits, out of the queue, for its prompt."""
        leader = request.leader
        if leader is not None and self.config.batching == "continuous":
            request.status = RequestStatus.PARKED
            leader.followers.append(request)
            self.num_parked += 1
        else:
            self.waiting.push(request)

    def finish(self, request: Request) -> None:
        """Take a choice out, wherever it is, and give back what it holds."""
        if request.status is RequestStatus.RUNNING:
            self.running.remove(request)
            self._vacate(request)
        elif request.status is RequestStatus.WAITING:
            self.waiting.discard(request)
        elif request.status is RequestStatus.PARKED and request.leader is not None:
            request.leader.followers.remove(request)
            self.num_parked -= 1
        request.status = RequestStatus.FINISHED
        self._release_followers(request)

    def preempt_all(self) -> None:
        while self.running:
            self._preempt_last()

    # -- building a step

    def schedule(self) -> Step:
        """Choose the next step's work. It is empty only if nothing waits and nothing runs."""
        step = Step(self.config.max_num_batched_tokens)
        if self.config.scheduling == "mixed":
            self._fill(step, StepKind.MIXED)
            return step
        # Where there is both kinds of work the kinds take turns, so that neither starves the other.
        turn = StepKind.DECODE if self._last_kind is StepKind.PREFILL else StepKind.PREFILL
        self._fill(step, turn)
        if not step.requests:
            turn = self._last_kind
            self._fill(step, turn)
        self._last_kind = turn
        return step

    def commit(self, step: Step) -> None:
        """Note that the step's tokens have been computed."""
        counters = self.counters
        num_requests = len(step.requests)
        counters.count_step(sum(step.num_new_tokens))
        for request, num_new in zip(step.requests, step.num_new_tokens, strict=True):
            start = request.num_computed_tokens
            request.num_computed_tokens = start + num_new
            request.metrics.num_steps += 1
            request.metrics.num_co_batched += num_requests
            num_prompt = request.num_prompt_tokens
            if start < num_prompt:
                num_of_prompt = min(num_new, num_prompt - start)
                request.metrics.num_computed_prompt_tokens += num_of_prompt
                counters.num_computed_prompt_tokens += num_of_prompt
                if request.num_computed_tokens >= num_prompt:
                    self._release_followers(request)

    def _fill(self, step: Step, kind: StepKind) -> None:
        num_preemptions = self.counters.num_preemptions
        nothing_ran = not self.running
        self._give_to_running(step, kind)
        # Whoever was preempted a moment ago must not come back in the same step to fight for the same blocks.
        if kind is StepKind.DECODE or self.counters.num_preemptions != num_preemptions:
            return
        if self.config.batching == "continuous" or nothing_ran:
            while len(self.waiting) and self._free_seats and self._admit(step):
                pass

    def _give_to_running(self, step: Step, kind: StepKind) -> None:
        index = 0
        while index < len(self.running) and step.budget > 0:  # preemption shortens the list from its end
            request = self.running[index]
            index += 1
            if not kind.serves(request):
                continue
            num_new = self._num_grantable(request.num_tokens - request.num_computed_tokens, step.budget)
            if num_new and self._make_room(request, num_new):
                self._grant(step, request, num_new)

    def _num_grantable(self, num_wanted: int, budget: int) -> int:
        """Tokens of `num_wanted` that fit into the budget: some, or without chunked prefill all or none."""
        if num_wanted <= budget:
            return num_wanted
        return budget if self.config.enable_chunked_prefill else 0

    def _make_room(self, request: Request, num_new: int) -> bool:
        """Hold blocks for the next tokens, at the cost of requests served later; False if it was its own."""
        num_missing = self._num_blocks(request.num_computed_tokens + num_new) - len(request.block_table)
        if num_missing <= 0:
            return True
        while not self.pool.can_allocate(num_missing):
            if self._preempt_last() is request:
                return False
        request.block_table += self.pool.allocate(num_missing)
        return True

    def _grant(self, step: Step, request: Request, num_new: int) -> None:
        """Give tokens, and enter the blocks that they will fill into the prefix cache.

        That is before their KV exists, so that an identical prompt admitted later in this step shares them:
        a backend writes all K and V of a layer before it reads any. Should the step fail, the cache is reset.
        """
        step.add(request, num_new)
        if not self.config.enable_prefix_caching:
            return
        num_full = (request.num_computed_tokens + num_new) // self.block_size
        for index in range(request.num_registered_blocks, num_full):
            self.pool.register(request.block_table[index], request.block_hash(index, self.block_size))
            request.num_registered_blocks = index + 1

    # -- admission and preemption

    def _admit(self, step: Step) -> bool:
        """Make the queue's head resident, with blocks for every token that it knows, if there is room."""
        may_idle = self.config.batching == "static"  # a static batch is formed at once, whatever the budget
        if step.budget == 0 and not may_idle:
            return False
        request = self.waiting.peek()
        reusable = self._find_reusable(request)
        num_new = self._num_grantable(request.num_tokens - reusable.num_tokens, step.budget)
        if num_new == 0 and not may_idle:
            return False
        num_blocks = self._num_blocks(request.num_tokens) - len(reusable.blocks)
        if not self.pool.can_allocate(num_blocks, keeping=reusable.blocks):
            return False
        self.waiting.pop()
        self.pool.touch(reusable.blocks)  # first, lest they are allocated
        own = self.pool.allocate(num_blocks)
        if reusable.copy_source is not None:
            step.block_copies.append((reusable.copy_source, own[0]))
        request.block_table = reusable.blocks + own
        self._make_resident(request, reusable.num_tokens)
        if num_new:
            self._grant(step, request, num_new)
        return True

    def _make_resident(self, request: Request, num_reused: int) -> None:
        request.status = RequestStatus.RUNNING
        request.seat = self._free_seats.pop()
        request.num_computed_tokens = num_reused
        request.num_registered_blocks = num_reused // self.block_size
        request.prefill_end = request.num_tokens
        insort(self.running, request, key=lambda resident: resident.sort_key)
        if request.metrics.first_scheduled_time is None:
            request.metrics.first_scheduled_time = time.monotonic()
            request.metrics.num_cached_prompt_tokens = num_reused
            self.counters.num_cached_prompt_tokens += num_reused
            if self.config.enable_prefix_caching and request.reads_prefix_cache:
                self.counters.num_prefix_cache_queries += request.num_prompt_tokens
                self.counters.num_prefix_cache_hits += num_reused

    def _find_reusable(self, request: Request) -> Reusable:
        """The most KV that exists already, always leaving one token to compute: it gives the logits.

        The last token is never rewritten in a shared block: a prefix hit is whole blocks that end before it,
        and a fork has its own copy of the block that it falls into.
        """
        leader = request.leader
        if leader is not None and not request.block_hashes:
            request.block_hashes = leader.block_hashes[: request.num_prompt_tokens // self.block_size]
        hit = self._find_cached_prefix(request)
        if leader is None or leader.status is not RequestStatus.RUNNING:
            return hit
        num_prompt = request.num_prompt_tokens
        num_shared = min(num_prompt, request.num_tokens - 1)
        if leader.num_computed_tokens < num_prompt or num_shared <= hit.num_tokens:
            return hit
        num_full, num_partial = divmod(num_shared, self.block_size)
        source = leader.block_table[num_full] if num_partial else None
        return Reusable(num_shared, leader.block_table[:num_full], source)

    def _find_cached_prefix(self, request: Request) -> Reusable:
        blocks: list[BlockId] = []
        if self.config.enable_prefix_caching:
            for index in range(request.num_reusable_tokens // self.block_size):
                block = self.pool.lookup(request.block_hash(index, self.block_size))
                if block is None:
                    break
                blocks.append(block)
        return Reusable(len(blocks) * self.block_size, blocks)

    def _preempt_last(self) -> Request:
        """Back to the queue; its KV is computed again, as far as the prefix cache will not still have it."""
        request = self.running.pop()
        self._vacate(request)
        request.status = RequestStatus.WAITING
        request.metrics.num_preemptions += 1
        self.counters.num_preemptions += 1
        self.waiting.push(request)
        return request

    def _vacate(self, request: Request) -> None:
        self.pool.free(request.block_table)
        self._free_seats.append(request.seat)
        request.block_table = []
        request.num_computed_tokens = 0
        request.num_registered_blocks = 0
        request.prefill_end = 0
        request.seat = -1
        request.num_seated_blocks = -1

    def _release_followers(self, leader: Request) -> None:
        for follower in leader.followers:
            follower.status = RequestStatus.WAITING
            self.num_parked -= 1
            self.waiting.push(follower)
        leader.followers.clear()

    def _num_blocks(self, num_tokens: int) -> int:
        return -(-num_tokens // self.block_size)
