"""Turns a `Step` into the arrays of a `Batch`.

This is in the step loop, so what does not change from step to step (block tables, sampling parameters) is
kept in one row per seat and gathered; Python touches each request a few times and no prompt token by token.
"""

import numpy as np

from gradus.batch import Batch, Int32, SamplingBatch
from gradus.engine.request import Request
from gradus.engine.scheduler import Step


class BatchBuilder:
    """Rows of `max_num_seqs` seats; a seat's row belongs to the request that sits there."""

    def __init__(self, max_num_seqs: int, max_blocks_per_seq: int, block_size: int) -> None:
        self.block_size = block_size
        self._block_tables = np.full((max_num_seqs, max_blocks_per_seq), -1, np.int32)
        self._temperature = np.zeros(max_num_seqs, np.float32)
        self._top_p = np.ones(max_num_seqs, np.float32)
        self._top_k = np.zeros(max_num_seqs, np.int32)
        self._seed = np.zeros(max_num_seqs, np.int64)
        self._choice_index = np.zeros(max_num_seqs, np.int32)
        self._num_logprobs = np.full(max_num_seqs, -1, np.int32)

    def build(self, step: Step) -> tuple[Batch, list[Request]]:
        """The batch, and for each of its output rows the request that it belongs to."""
        requests = step.requests
        for request in requests:
            if request.num_seated_blocks != len(request.block_table):
                self._seat(request)
        starts = np.array([request.num_computed_tokens for request in requests], np.int32)
        lens = np.array(step.num_new_tokens, np.int32)
        context_lens = starts + lens
        query_start = np.zeros(len(requests) + 1, np.int32)
        np.cumsum(lens, out=query_start[1:])
        seats = np.array([request.seat for request in requests], np.intp)
        block_tables = self._block_tables[seats, : max(len(request.block_table) for request in requests)]
        sequence, positions = self._rows(starts, lens, query_start)
        slots = block_tables[sequence, positions // self.block_size].astype(np.int64)
        slots *= self.block_size
        slots += positions % self.block_size

        known = np.array([len(request.token_ids) for request in requests], np.int32)
        sampled = np.flatnonzero(context_lens == known)  # the last known token is in the step
        batch = Batch(
            token_ids=np.array(self._token_ids(step), np.int32),
            positions=positions,
            slot_mapping=slots,
            query_start=query_start,
            context_lens=context_lens,
            block_tables=block_tables,
            block_copies=np.array(step.block_copies, np.int32).reshape(-1, 2),
            output_rows=query_start[1:][sampled] - np.int32(1),
            sampling=self._sampling(seats[sampled], context_lens[sampled]),
        )
        return batch, [requests[index] for index in sampled.tolist()]

    @staticmethod
    def _token_ids(step: Step) -> list[int]:
        token_ids: list[int] = []
        for request, num_new in zip(step.requests, step.num_new_tokens, strict=True):
            start = request.num_computed_tokens
            if num_new == 1:
                token_ids.append(request.token_ids[start])
            else:
                token_ids += request.token_ids[start : start + num_new]
        return token_ids

    @staticmethod
    def _rows(starts: Int32, lens: Int32, query_start: Int32) -> tuple[Int32, Int32]:
        """For each row of the step, its sequence's index and its position: both [num_tokens]."""
        num_tokens, num_seqs = int(query_start[-1]), len(lens)
        index = np.arange(num_seqs, dtype=np.int32)
        if num_tokens == num_seqs:  # one token each
            return index, starts.copy()
        sequence = np.repeat(index, lens)
        positions = np.arange(num_tokens, dtype=np.int32) + (starts - query_start[:-1])[sequence]
        return sequence, positions

    def _seat(self, request: Request) -> None:
        """Bring the seat's row up to date with a request that is new there or has got blocks."""
        seat, num_seated = request.seat, request.num_seated_blocks
        row = self._block_tables[seat]
        if num_seated < 0:
            row.fill(-1)
            num_seated = 0
            params = request.engine_request.params
            self._temperature[seat] = params.temperature
            self._top_p[seat] = params.top_p
            self._top_k[seat] = max(params.top_k, 0)
            self._seed[seat] = request.engine_request.seed
            self._choice_index[seat] = request.choice_index
            self._num_logprobs[seat] = -1 if params.logprobs is None else params.logprobs
        num_blocks = len(request.block_table)
        row[num_seated:num_blocks] = request.block_table[num_seated:]
        request.num_seated_blocks = num_blocks

    def _sampling(self, seats: np.ndarray, position: Int32) -> SamplingBatch:
        return SamplingBatch(
            temperature=self._temperature[seats],
            top_p=self._top_p[seats],
            top_k=self._top_k[seats],
            seed=self._seed[seats],
            choice_index=self._choice_index[seats],
            position=position,
            num_logprobs=self._num_logprobs[seats],
        )
