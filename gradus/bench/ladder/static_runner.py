"""A loop that builds batches, runs them, and appends what was sampled.

Requests run in static batches: the next ones begin when all of a batch have ended; who ends earlier leaves
the batch. Knows no scheduler: a step is the next tokens of everybody, as far as the budget goes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from gradus.batch import Backend
from gradus.bench.ladder.requests import LadderRequest
from gradus.config import SchedulerConfig
from gradus.engine.batch_builder import BatchBuilder
from gradus.engine.block_pool import BlockPool
from gradus.engine.request import Request
from gradus.engine.scheduler import Step
from gradus.errors import ConfigError, RequestFailedError


class Blocks(ABC):
    """Where sequences keep their keys and values."""

    @abstractmethod
    def extend(self, request: Request, num_tokens: int) -> None:
        """Let the request's block table hold so many tokens."""

    @abstractmethod
    def free(self, request: Request) -> None:
        """The request has ended."""


class FixedBlocks(Blocks):
    """Seat i has blocks i * n to i * n + n - 1, enough for the longest request."""

    def __init__(self, num_blocks_each: int) -> None:
        self._num_blocks_each = num_blocks_each

    def extend(self, request: Request, num_tokens: int) -> None:
        if not request.block_table:
            start = request.seat * self._num_blocks_each
            request.block_table = list(range(start, start + self._num_blocks_each))

    def free(self, request: Request) -> None:
        """They stay the seat's."""


class PooledBlocks(Blocks):
    """As many as are needed, when they are needed."""

    def __init__(self, pool: BlockPool, block_size: int) -> None:
        self._pool = pool
        self._block_size = block_size

    def extend(self, request: Request, num_tokens: int) -> None:
        num_missing = -(-num_tokens // self._block_size) - len(request.block_table)
        if num_missing > 0:
            assert self._pool.can_allocate(num_missing), "the steps were recorded with as many"
            request.block_table += self._pool.allocate(num_missing)

    def free(self, request: Request) -> None:
        self._pool.free(request.block_table)


class StaticRunner:
    """Runs requests on a backend in static batches."""

    def __init__(self, backend: Backend, config: SchedulerConfig, concurrency: int, blocks: Blocks) -> None:
        self._backend = backend
        self._blocks = blocks
        self._budget = config.max_num_batched_tokens
        self._concurrency = concurrency
        max_blocks = min(-(-config.max_model_len // backend.block_size), backend.num_blocks)
        self._builder = BatchBuilder(concurrency, max_blocks, backend.block_size, backend.vocab_size)
        self.num_steps = 0
        self.num_tokens = 0

    def run(self, requests: Sequence[LadderRequest]) -> list[list[int]]:
        """Each request's tokens."""
        outputs: list[list[int]] = []
        for start in range(0, len(requests), self._concurrency):
            wave = [
                _sit_down(request, seat) for seat, request in enumerate(requests[start:][: self._concurrency])
            ]
            running = wave
            while running:
                self._step(running)
                running = [request for request in running if not self._has_ended(request)]
            outputs += [request.token_ids[request.num_prompt_tokens :] for request in wave]
        return outputs

    def _step(self, running: list[Request]) -> None:
        step = Step(self._budget)
        for request in running:
            num_new = min(request.num_tokens - request.num_computed_tokens, step.budget)
            if num_new:
                self._blocks.extend(request, request.num_computed_tokens + num_new)
                step.add(request, num_new)
        batch, sampled = self._builder.build(step)
        token_ids = self._backend.execute(batch).token_ids[:, 0].tolist()
        for request, num_new in zip(step.requests, step.num_new_tokens, strict=True):
            request.num_computed_tokens += num_new
        for request, token_id in zip(sampled, token_ids, strict=True):
            if token_id < 0:
                raise RequestFailedError("the model gave no finite logits")
            request.token_ids.append(token_id)
        self.num_steps += 1
        self.num_tokens += len(sampled)

    def _has_ended(self, request: Request) -> bool:
        has_ended = request.num_generated_tokens >= request.engine_request.max_tokens
        if has_ended:
            self._blocks.free(request)
        return has_ended


def _sit_down(request: LadderRequest, seat: int) -> Request:
    message = request.engine_request
    return Request(message, 0, (0, 0, 0), message.prompt_token_ids.copy(), seat=seat)


def fixed_blocks(backend: Backend, requests: Sequence[LadderRequest], concurrency: int) -> FixedBlocks:
    """Raises:
    ConfigError: so many requests of that length do not fit into the KV cache at a time.
    """
    longest = max(request.context for request in requests)
    num_each = -(-longest // backend.block_size)
    if num_each * concurrency > backend.num_blocks:
        raise ConfigError(
            f"{concurrency} requests of {longest:,} tokens need {num_each * concurrency:,} KV blocks at a "
            f"time and there are {backend.num_blocks:,}; lower the concurrency, or give the cache more memory"
        )
    return FixedBlocks(num_each)
