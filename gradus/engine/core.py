"""`EngineCore`: the step loop. Requests go in, each `step()` runs one batch and says what it gave whom.

Synchronous, single-threaded, and without any knowledge of text or models. Whatever happens, each choice of
each request ends in exactly one way: "stop", "length", "abort" or "error".
"""

import time
from collections import deque
from dataclasses import asdict
from typing import Any

import numpy as np

from gradus.batch import DRAW, Backend, Int32, StepResult
from gradus.config import SchedulerConfig
from gradus.engine.admission import AdmissionLimits
from gradus.engine.batch_builder import BatchBuilder
from gradus.engine.block_pool import BlockPool
from gradus.engine.logit_edits import EditState, is_edited
from gradus.engine.prompt_rows import PromptRows
from gradus.engine.request import Request, RequestStatus
from gradus.engine.results import check_shape, token_logprobs, up_to_end, with_forced
from gradus.engine.scheduler import Scheduler, Step
from gradus.engine.stats import MAX_RECENT_STEPS, EngineCounters, EngineStats, StepRecord
from gradus.errors import ConstraintError, EngineDeadError, InvalidRequestError
from gradus.messages import EngineRequest, RequestUpdate
from gradus.outputs import FinishReason

NO_TOKEN = "no token can come next: the model gave no finite logits, or the request's masks leave none"
UNUSABLE = "the step's result is unusable"
MAX_CONSECUTIVE_FAILURES = 3  # after so many failed steps in a row the backend is taken for broken


class EngineCore:
    """One engine over one backend, which it uses and does not own."""

    def __init__(self, backend: Backend, config: SchedulerConfig) -> None:
        self.backend = backend
        self.config = config
        block_size, num_blocks = backend.block_size, backend.num_blocks
        self.limits = AdmissionLimits(
            max_model_len=config.max_model_len,
            vocab_size=backend.vocab_size,
            num_blocks=num_blocks,
            block_size=block_size,
        )
        self.counters = EngineCounters()
        self.recent_steps: deque[StepRecord] = deque(maxlen=MAX_RECENT_STEPS)
        self.pool = BlockPool(num_blocks)
        self.scheduler = Scheduler(config, self.pool, block_size, self.counters)
        max_blocks_per_seq = min(-(-config.max_model_len // block_size), num_blocks)
        self._builder = BatchBuilder(config.max_num_seqs, max_blocks_per_seq, block_size, backend.vocab_size)
        self._choices: dict[str, list[Request]] = {}  # until the last choice's last update is handed out
        self._updates: list[RequestUpdate] = []  # collected for the next return of step()
        self._num_arrivals = 0
        self._num_failures_in_a_row = 0
        self._cause_of_death: str | None = None

    @property
    def is_dead(self) -> bool:
        return self._cause_of_death is not None

    @property
    def cause_of_death(self) -> str | None:
        """Why the engine refuses requests; None while it lives."""
        return self._cause_of_death

    @property
    def has_unfinished_requests(self) -> bool:
        """Whether a step has anything to do, be it only to hand out the end of an aborted request."""
        return bool(self._choices)

    @property
    def num_waiting(self) -> int:
        return self.scheduler.num_waiting

    @property
    def num_waiting_tokens(self) -> int:
        """Tokens of waiting choices; those that wait for a sibling's prompt count none of their own."""
        return self.scheduler.waiting.num_tokens

    def validate(self, request: EngineRequest) -> list[int]:
        """The prompt as plain integers, if the request can be served. Reads no state; any thread may call it.

        Raises:
            InvalidRequestError: the prompt is empty or has ids that the model does not know.
            ContextOverflowError: prompt and output do not fit into the context or into the KV cache.
        """
        return self.limits.check(request)

    def add_request(self, request: EngineRequest) -> None:
        """Queue a request.

        Raises:
            InvalidRequestError: as `validate`, or the id is that of a request in flight.
            ContextOverflowError: as `validate`.
            EngineDeadError: the engine has given up.
        """
        prompt = self.validate(request)
        if self._cause_of_death is not None:
            raise EngineDeadError(self._cause_of_death)
        if request.request_id in self._choices:
            raise InvalidRequestError(
                f"request id {request.request_id!r} is in flight; choose another", param="request_id"
            )
        priority = request.priority if self.config.policy == "priority" else 0
        choices: list[Request] = []
        for index in range(request.params.n):
            choice = Request(
                engine_request=request,
                choice_index=index,
                sort_key=(priority, self._num_arrivals, index),
                token_ids=prompt.copy(),
                leader=choices[0] if choices else None,
                edits=EditState(request, self.backend.vocab_size) if is_edited(request) else None,
                prompt_rows=PromptRows(request) if not choices and PromptRows.wanted_by(request) else None,
            )
            choice.metrics.queued_time = time.monotonic()
            choices.append(choice)
            self.scheduler.add(choice)
        self._num_arrivals += 1
        self._choices[request.request_id] = choices

    def abort(self, request_id: str, choice_index: int | None = None) -> None:
        """End a request, or one choice of it, now; the next step hands out the last update.

        What is unknown or has ended already is left alone.
        """
        for choice in self._choices.get(request_id, ()):
            if choice_index is None or choice.choice_index == choice_index:
                self._finish(choice, "abort")

    def abort_all(self) -> None:
        for request_id in self._choices:
            self.abort(request_id)

    def step(self) -> list[RequestUpdate]:
        """Run one batch, if there is anything to run, and return what has happened since the last call."""
        if self.scheduler.has_work:
            self._run_step()
        updates, self._updates = self._updates, []
        for update in updates:
            if update.finish_reason is not None:
                self._forget_if_over(update.request_id)
        return updates

    def fail(self, reason: str) -> None:
        """Give up: all requests end with an error, and new ones are refused."""
        self._cause_of_death = reason
        for choices in self._choices.values():
            for choice in choices:
                self._finish(choice, "error", error=reason)

    def stats(self) -> EngineStats:
        return EngineStats(
            num_running=len(self.scheduler.running),
            num_waiting=self.scheduler.num_waiting,
            num_blocks=self.pool.num_blocks,
            num_free_blocks=self.pool.num_free,
            num_used_blocks=self.pool.num_used,
            peak_used_blocks=self.pool.peak_used,
            num_cached_blocks=self.pool.num_cached,
            **asdict(self.counters),
        )

    def check_integrity(self) -> None:
        """Compare the block pool's books with the resident requests.

        Raises:
            BlockAccountingError: they differ.
        """
        self.pool.check_integrity(request.block_table for request in self.scheduler.running)

    # -- one step

    def _run_step(self) -> None:
        step: Step | None = None
        start = time.monotonic()
        try:
            step = self.scheduler.schedule()
            batch, outputs = self._builder.build(step)
            result = self.backend.execute(batch)
            check_shape(result, len(outputs))
        except Exception as error:  # whatever it was, the next step starts clean
            self._fail_step(step, error)
            return
        self._num_failures_in_a_row = 0
        self.scheduler.commit(step)
        self._apply(outputs, batch.sampling.targets, result)
        record = StepRecord(start, time.monotonic(), len(step.requests), sum(step.num_new_tokens))
        self.recent_steps.append(record)

    def _fail_step(self, step: Step | None, error: Exception) -> None:
        """End what was in flight; nobody must find or go on with the KV that the step should have written."""
        self.pool.reset_cache()
        reason = f"the step failed: {type(error).__name__}: {error}"
        in_flight = self.scheduler.running if step is None else step.requests
        for request in list(in_flight):
            self._finish(request, "error", error=reason)
        # Who is resident without a part in the step may share blocks with who had one: it starts over.
        self.scheduler.preempt_all()
        self.counters.num_failed_steps += 1
        self._num_failures_in_a_row += 1
        if self._num_failures_in_a_row >= MAX_CONSECUTIVE_FAILURES:
            self.fail(f"{self._num_failures_in_a_row} steps in a row failed, the last one with {error!r}")

    def _apply(self, outputs: list[Request], targets: Int32 | None, result: StepResult) -> None:
        """Give each request its tokens; what goes wrong with one is that one's end alone."""
        now = time.monotonic()
        token_ids: list[list[int]] = result.token_ids.tolist()
        num_sampled: list[int] = result.num_sampled.tolist()
        drawn = range(len(outputs)) if targets is None else self._take_prompt_rows(outputs, targets, result)
        for row in drawn:
            request = outputs[row]
            if num_sampled[row] == 0:
                self._finish(request, "error", error=NO_TOKEN)
                continue
            try:
                self._accept(request, token_ids[row][: num_sampled[row]], result, row, now)
            except ConstraintError as error:
                self._finish(request, "error", error=str(error))
            except Exception as error:
                self._finish(request, "error", error=f"{UNUSABLE}: {error!r}")

    def _take_prompt_rows(self, outputs: list[Request], targets: Int32, result: StepResult) -> list[int]:
        """What rows of prompts said; returns the rows that were drawn, of requests that have not failed."""
        for row in np.flatnonzero(targets != DRAW).tolist():
            request = outputs[row]
            if request.status is RequestStatus.FINISHED:  # an earlier row of it went wrong
                continue
            try:
                self._take_prompt_row(request, result, row)
            except Exception as error:
                self._finish(request, "error", error=f"{UNUSABLE}: {error!r}")
        drawn: list[int] = np.flatnonzero(targets == DRAW).tolist()
        return [row for row in drawn if outputs[row].status is not RequestStatus.FINISHED]

    def _take_prompt_row(self, request: Request, result: StepResult, row: int) -> None:
        """What the row of a prompt's token said; a request for an embedding ends with the last of them."""
        if request.prompt_rows is None:
            raise ValueError("the request wants nothing of its prompt")
        unusable = request.prompt_rows.take(result, row)
        if unusable is not None:
            self._finish(request, "error", error=unusable)
        elif request.engine_request.pooling is not None and request.prompt_rows.is_complete:
            self._finish(request, "stop", about_prompt=request.prompt_rows.result)

    def _accept(self, request: Request, new: list[int], result: StepResult, row: int, now: float) -> None:
        """Append new tokens up to the first that ends the request."""
        message = request.engine_request
        num_left = message.max_tokens - request.num_generated_tokens
        new, finish_reason, stop_reason = up_to_end(message, new, num_left)
        has_end_token = True
        if request.edits is not None and request.edits.constraint is not None:
            request.edits.accept(new)
            if finish_reason is None and self.config.enable_jump_forward:
                new, finish_reason, stop_reason = with_forced(
                    message, request.edits, new, num_left - len(new)
                )
            if request.edits.is_complete and finish_reason in (None, "length"):
                finish_reason, has_end_token = "stop", False
        logprobs = None
        if message.params.logprobs is not None:
            logprobs = token_logprobs(result, row, len(new), message.params.logprobs)
        request.token_ids += new
        self.counters.num_generated_tokens += len(new)
        about_prompt = None
        if request.metrics.first_token_time is None:
            request.metrics.first_token_time = now
            about_prompt = None if request.prompt_rows is None else request.prompt_rows.result
        if finish_reason is not None:
            self._finish(
                request,
                finish_reason,
                new_token_ids=new,
                logprobs=logprobs,
                about_prompt=about_prompt,
                stop_reason=stop_reason,
                has_end_token=has_end_token,
            )
            return
        update = RequestUpdate(
            request_id=message.request_id,
            choice_index=request.choice_index,
            new_token_ids=new,
            logprobs=logprobs,
            about_prompt=about_prompt,
            metrics=request.metrics,
        )
        self._updates.append(update)

    def _finish(self, request: Request, reason: FinishReason, **details: Any) -> None:
        """A choice's one end: its blocks go back and its last update, with these details, is queued."""
        if request.status is RequestStatus.FINISHED:
            return
        self.scheduler.finish(request)
        request.metrics.finished_time = time.monotonic()
        self.counters.num_finished[reason] += 1
        update = RequestUpdate(
            request_id=request.request_id,
            choice_index=request.choice_index,
            finish_reason=reason,
            metrics=request.metrics,
            **details,
        )
        self._updates.append(update)

    def _forget_if_over(self, request_id: str) -> None:
        choices = self._choices.get(request_id, ())
        if all(choice.status is RequestStatus.FINISHED for choice in choices):
            self._choices.pop(request_id, None)
