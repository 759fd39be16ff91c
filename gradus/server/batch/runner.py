"""Runs the lines of a batch through the engine, many at a time; a line that fails stops no other.

A body takes the same way as over HTTP: the routes' own `prepare`, the same refusals, the same answers.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gradus.errors import EngineDeadError, GradusError
from gradus.server.batch.journal import Journal
from gradus.server.batch.lines import BadLine, BatchRequest, answer_line, error_line
from gradus.server.http import chat, completions
from gradus.server.http.context import AppContext
from gradus.server.http.errors import ApiError, describe
from gradus.server.service import Service
from gradus.server.settings import ServerSettings

logger = logging.getLogger("gradus.batch")

_PREPARE = {"/v1/completions": completions.prepare, "/v1/chat/completions": chat.prepare}


class BatchRunner:
    """One run over the lines that are not done yet.

    `max_in_flight` lines are in the engine at a time: more than fit into a step, so that none waits for the
    next line to be read. With a `seed`, a line that brings none gets one that follows from it and the line's
    id, so that what a run generates does not depend on where an earlier one was stopped.
    """

    def __init__(
        self, service: Service, journal: Journal, *, max_in_flight: int, seed: int | None = None
    ) -> None:
        self._context = AppContext(service, ServerSettings())
        self._journal = journal
        self._max_in_flight = max_in_flight
        self._seed = seed
        self.num_generated_tokens = 0

    async def run(
        self, lines: Iterable[BatchRequest | BadLine], on_progress: Callable[[], None] = lambda: None
    ) -> None:
        """Append a result for every line; `on_progress` is called after each.

        Raises:
            EngineDeadError: the engine stopped; lines without a result have none.
            JournalError: the output cannot be written.
        """
        rest = iter(lines)  # the workers share it: each takes the next line when it is free
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._max_in_flight):
                    group.create_task(self._work(rest, on_progress))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _work(self, rest: Iterator[BatchRequest | BadLine], on_progress: Callable[[], None]) -> None:
        for line in rest:
            self._journal.append(error_line(line) if isinstance(line, BadLine) else await self._answer(line))
            on_progress()

    async def _answer(self, line: BatchRequest) -> bytes:
        try:
            return answer_line(line.custom_id, 200, await self._complete(line))
        except EngineDeadError:
            raise
        except Exception as error:
            if not isinstance(error, (GradusError, ApiError, RecursionError)):
                logger.error("line %d failed: %r", line.number, error)
            status, body, _ = describe(error)
            return answer_line(line.custom_id, status, body)

    async def _complete(self, line: BatchRequest) -> dict[str, Any]:
        prepared = await _PREPARE[line.url](self._context, self._body(line), line.num_bytes)
        if prepared.is_stream:
            raise ApiError(
                "stream is true; a batch has no streams, leave it out", param="stream", code="invalid_value"
            )
        generation = self._context.service.generate(
            prepared.engine_requests, timeout=prepared.timeout, shown_special_ids=prepared.shown_special_ids
        )
        try:
            await generation.run()
        finally:
            generation.close()
        self.num_generated_tokens += sum(state.num_generated_tokens for state in generation.states)
        return prepared.whole(generation)

    def _body(self, line: BatchRequest) -> dict[str, Any]:
        if self._seed is None or line.body.get("seed") is not None:
            return line.body
        digest = hashlib.sha256(f"{self._seed}/{line.custom_id}".encode()).digest()
        return {**line.body, "seed": int.from_bytes(digest[:4], "little")}
