"""Turns a `Step` into the arrays of a `Batch`.

This is in the step loop, so what does not change from step to step (block tables, sampling parameters) is
kept in one row per seat and gathered; Python touches each request a few times and no prompt token by token.
"""

import numpy as np

from gradus.batch import DRAW, Batch, Int32, SamplingBatch
from gradus.engine.logit_edits import build_edits
from gradus.engine.request import Request
from gradus.engine.scheduler import Step


class BatchBuilder:
    """Rows of `max_num_seqs` seats; a seat's row belongs to the request that sits there."""

    def __init__(self, max_num_seqs: int, max_blocks_per_seq: int, block_size: int, vocab_size: int) -> None:
        self.block_size = block_size
        self.vocab_size = vocab_size
        self._block_tables = np.full((max_num_seqs, max_blocks_per_seq), -1, np.int32)
        self._temperature = np.zeros(max_num_seqs, np.float32)
        self._top_p = np.ones(max_num_seqs, np.float32)
        self._top_k = np.zeros(max_num_seqs, np.int32)
        self._min_p = np.zeros(max_num_seqs, np.float32)
        self._seed = np.zeros(max_num_seqs, np.int64)
        self._choice_index = np.zeros(max_num_seqs, np.int32)
        self._num_logprobs = np.full(max_num_seqs, -1, np.int32)
        self._mask_rows = np.empty((0, -(-vocab_size // 32)), np.uint32)  # as many as are needed at a time
        self._is_special = np.zeros(max_num_seqs, np.bool_)  # edits its logits or wants prompt rows

    def build(self, step: Step) -> tuple[Batch, list[Request]]:
        """The batch, and for each of its output rows the request that it belongs to.

        A row without a target in `Batch.sampling` samples; one with a target is a wanted row of a prompt.
        """
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
        outputs = [requests[index] for index in sampled.tolist()]
        if self._is_special[seats].any():
            outputs = self._add_special(batch, step, outputs, starts)
        return batch, outputs

    def _add_special(self, batch: Batch, step: Step, outputs: list[Request], starts: Int32) -> list[Request]:
        """Give the batch its edits, and output rows for what requests want to know about their prompts."""
        if any(r.prompt_rows is not None and not r.prompt_rows.is_complete for r in step.requests):
            outputs = self._add_prompt_rows(batch, step, outputs, starts)
        targets = batch.sampling.targets
        drawn = range(batch.num_outputs) if targets is None else np.flatnonzero(targets == DRAW).tolist()
        if len(drawn) > len(self._mask_rows):
            self._mask_rows = np.empty((len(drawn), -(-self.vocab_size // 32)), np.uint32)
        batch.sampling.edits = build_edits(drawn, [outputs[row] for row in drawn], self._mask_rows)
        return outputs

    def _add_prompt_rows(
        self, batch: Batch, step: Step, outputs: list[Request], starts: Int32
    ) -> list[Request]:
        is_sampled = set(map(id, outputs))
        rows: list[int] = []
        targets: list[int] = []
        positions: list[int] = []
        owners: list[Request] = []
        for index, request in enumerate(step.requests):
            start, first_row = int(starts[index]), int(batch.query_start[index])
            stop = start + step.num_new_tokens[index]
            wanted = range(0)
            if request.prompt_rows is not None:
                wanted = request.prompt_rows.wanted(start, stop)
                targets += [request.prompt_rows.target(request.token_ids, p) for p in wanted]
                positions += [p + 1 for p in wanted]
            rows += [first_row + p - start for p in wanted]
            owners += [request] * len(wanted)
            if id(request) in is_sampled and request.engine_request.pooling is None:
                rows.append(first_row + stop - 1 - start)
                targets.append(DRAW)
                positions.append(stop)
                owners.append(request)
        seats = np.array([request.seat for request in owners], np.intp)
        batch.output_rows = np.array(rows, np.int32)
        batch.sampling = self._sampling(seats, np.array(positions, np.int32))
        batch.sampling.targets = np.array(targets, np.int32)
        for row, request in enumerate(owners):
            if targets[row] != DRAW:
                num_logprobs = request.engine_request.params.prompt_logprobs
                batch.sampling.num_logprobs[row] = -1 if num_logprobs is None else num_logprobs
            batch.return_hidden = batch.return_hidden or request.engine_request.pooling is not None
        return owners

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
            self._min_p[seat] = params.min_p
            self._is_special[seat] = request.edits is not None or request.prompt_rows is not None
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
            min_p=self._min_p[seats],
            seed=self._seed[seats],
            choice_index=self._choice_index[seats],
            position=position,
            num_logprobs=self._num_logprobs[seats],
        )
