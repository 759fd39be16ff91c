"""Rung 4: `EngineCore`, that is scheduler, continuous batching and the engine's books, in this thread."""

from collections.abc import Sequence

from gradus.bench.ladder.base import Ground, Rung, RungRun, Stopwatch
from gradus.bench.ladder.requests import LadderRequest, Output
from gradus.errors import RequestFailedError


class CoreRung(Rung):
    """Steps a core of its own; a request that ends makes room for the next before the next step."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self._core = ground.new_core()

    def run(self, requests: Sequence[LadderRequest], concurrency: int) -> RungRun:
        counters = self._core.counters
        num_steps, num_tokens = counters.num_steps, counters.num_generated_tokens
        watch = Stopwatch()
        with watch.running():
            token_ids = self._drive(requests, concurrency)
        ordered = [token_ids[request.engine_request.request_id] for request in requests]
        return RungRun(
            watch.seconds,
            watch.cpu_seconds,
            counters.num_steps - num_steps,
            counters.num_generated_tokens - num_tokens,
            [Output(len(ids), ids) for ids in ordered],
        )

    def _drive(self, requests: Sequence[LadderRequest], concurrency: int) -> dict[str, list[int]]:
        """Each request's tokens, by its id."""
        waiting, num_running = list(reversed(requests)), 0
        token_ids: dict[str, list[int]] = {}
        while waiting or num_running:
            while waiting and num_running < concurrency:
                request = waiting.pop().engine_request
                token_ids[request.request_id] = []
                self._core.add_request(request)
                num_running += 1
            for update in self._core.step():
                token_ids[update.request_id] += update.new_token_ids
                num_running -= update.finish_reason is not None
                if update.error is not None:
                    raise RequestFailedError(update.error)
        return token_ids
