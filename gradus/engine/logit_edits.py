"""What requests do to their logits besides sampling: masks, biases, bad words, minimum lengths, penalties.

`EditState` holds one choice's part from step to step, `build_edits` makes a step's `LogitEdits` of them. Only
choices that use any of this have a state, so that nobody else pays for it. Knows token ids, no text.
"""

import itertools
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradus.batch import Float32, Int32, LogitEdits, UInt32
from gradus.constraints import TokenConstraint
from gradus.engine.thinking import ThinkingLimit
from gradus.messages import EngineRequest

if TYPE_CHECKING:
    from gradus.engine.request import Request

_NO_IDS = np.empty(0, np.int32)
_ALL = np.uint32(0xFFFFFFFF)


def has_penalties(request: EngineRequest) -> bool:
    params = request.params
    return (params.repetition_penalty, params.frequency_penalty, params.presence_penalty) != (1.0, 0.0, 0.0)


def is_edited(request: EngineRequest) -> bool:
    """Whether the request's logits are ever changed before sampling."""
    params = request.params
    if request.grammar is not None or request.thinking is not None:
        return True
    has_bans = bool(request.bad_words or (request.delayed_token_ids and params.min_tokens))
    has_lists = bool(params.logit_bias) or params.allowed_token_ids is not None
    return has_bans or has_lists or has_penalties(request)


class EditState:
    """One choice's edits; all but the tokens that it has seen follow from its request."""

    def __init__(self, request: EngineRequest, vocab_size: int) -> None:
        params = request.params
        self.penalties = (params.repetition_penalty, params.frequency_penalty, params.presence_penalty)
        self.mask = _fixed_mask(request, vocab_size)
        self.grammar = request.grammar
        self._has_ends = bool(request.eos_token_ids)
        self._num_prompt = len(request.prompt_token_ids)
        self._thinking: ThinkingLimit | None = None
        if request.thinking is not None:
            self._thinking = ThinkingLimit(request.thinking, self._num_prompt)
            self.closing_mask = token_mask([request.thinking.closing_id], vocab_size)
        self._min_tokens = params.min_tokens
        self._delayed = list(request.delayed_token_ids)
        self._phrases = [word for word in request.bad_words if len(word) > 1]
        single = [word[0] for word in request.bad_words if len(word) == 1]
        biases = params.logit_bias or {}
        self._bias_ids = np.array([*biases, *single], np.int32)
        self._biases = np.array([*biases.values(), *[-np.inf] * len(single)], np.float32)
        self._seen = _SeenTokens(request) if has_penalties(request) else None
        self.constraint: TokenConstraint | None = None
        if request.grammar is not None:
            # What a request forbids may be what would end its output.
            is_free = not (params.allowed_token_ids or len(self._bias_ids) or self._phrases or self._delayed)
            may_close = is_free and not params.ignore_eos
            self.constraint = request.grammar.new_constraint(request.max_tokens if may_close else None)
            self._may_jump = is_free and params.logprobs is None
        self.has_mask = self.mask is not None or self.constraint is not None
        has_others = len(self._bias_ids) or self._phrases or self._delayed or self._seen or self._thinking
        self.is_mask_alone = self.has_mask and not has_others

    def must_stop_thinking(self, token_ids: Sequence[int]) -> bool:
        """Whether only `closing_mask` is allowed next, unless other masks forbid it."""
        return self._thinking is not None and self._thinking.is_reached(token_ids)

    def accept(self, token_ids: Sequence[int]) -> None:
        """Output tokens, which the constraint goes on by.

        Raises:
            ConstraintError: it does not allow them.
        """
        if self.constraint is not None:
            for token_id in token_ids:
                self.constraint.accept(token_id)

    def forced_tokens(self) -> list[int]:
        """What must come next, if nothing but the grammar has a say and nobody asks how likely it is."""
        return self.constraint.forced_tokens() if self.constraint is not None and self._may_jump else []

    @property
    def is_complete(self) -> bool:
        """Whether the output is whole, and no end-of-sequence token could say so."""
        return self.constraint is not None and not self._has_ends and self.constraint.is_finished

    def biases(self, token_ids: Sequence[int]) -> tuple[Int32, Float32]:
        """Token ids and what is added to their logits, for the token after `token_ids`."""
        forbidden = self._forbidden(token_ids)
        if not forbidden:
            return self._bias_ids, self._biases
        ids = np.concatenate([self._bias_ids, np.array(forbidden, np.int32)])
        return ids, np.concatenate([self._biases, np.full(len(forbidden), -np.inf, np.float32)])

    def seen(self, token_ids: Sequence[int]) -> tuple[Int32, Int32]:
        """The tokens that penalties apply to, and how often each has been generated."""
        return (_NO_IDS, _NO_IDS) if self._seen is None else self._seen.up_to(token_ids)

    def _forbidden(self, token_ids: Sequence[int]) -> list[int]:
        """What must not come next: ends, before `min_tokens`; the last token of a bad word.

        Like vLLM, a bad word is looked for in the output alone, not across the prompt's end.
        """
        num_generated = len(token_ids) - self._num_prompt
        forbidden = list(self._delayed) if num_generated < self._min_tokens else []
        for word in self._phrases:
            num_before = len(word) - 1
            if num_before <= num_generated and tuple(token_ids[-num_before:]) == word[:-1]:
                forbidden.append(word[-1])
        return forbidden


class _SeenTokens:
    """Distinct tokens of a choice in arrays that grow as it does."""

    def __init__(self, request: EngineRequest) -> None:
        self._num_taken = len(request.prompt_token_ids)
        # The prompt's tokens matter to the repetition penalty alone.
        uses_prompt = request.params.repetition_penalty != 1.0
        distinct = np.unique(np.array(request.prompt_token_ids, np.int32)) if uses_prompt else _NO_IDS
        self._index = {token: index for index, token in enumerate(distinct.tolist())}
        self._ids = distinct.astype(np.int32)
        self._counts = np.zeros(len(distinct), np.int32)

    def up_to(self, token_ids: Sequence[int]) -> tuple[Int32, Int32]:
        for token in token_ids[self._num_taken :]:
            index = self._index.setdefault(token, len(self._index))
            if index == len(self._ids):
                self._grow()
            self._ids[index] = token
            self._counts[index] += 1
        self._num_taken = len(token_ids)
        num_distinct = len(self._index)
        return self._ids[:num_distinct], self._counts[:num_distinct]

    def _grow(self) -> None:
        room = np.zeros(max(64, len(self._ids)), np.int32)
        self._ids = np.concatenate([self._ids, room])
        self._counts = np.concatenate([self._counts, room])


def token_mask(token_ids: Sequence[int], vocab_size: int) -> UInt32:
    """The bits of `LogitEdits.masks` for a list of allowed tokens."""
    bits = np.zeros(-(-vocab_size // 32) * 32, np.uint8)
    bits[np.array(token_ids)] = 1
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)


def build_edits(rows: Sequence[int], requests: "Sequence[Request]", mask_rows: UInt32) -> LogitEdits | None:
    """The edits of those output rows whose request has any; `rows` are ascending.

    mask_rows: [at least len(rows), ceil(vocab_size / 32)], where the masks are written.
    """
    edited = [
        (row, request, request.edits)
        for row, request in zip(rows, requests, strict=True)
        if request.edits is not None
    ]
    if not edited:
        return None
    states = [state for _, _, state in edited]
    edited_rows = tuple([row for row, _, _ in edited])
    if all(state.is_mask_alone for state in states):
        others, masked, stops = _nothing_but_masks(edited_rows), states, []
    else:
        token_ids = [request.token_ids for _, request, _ in edited]
        must_stop = [state.must_stop_thinking(ids) for state, ids in zip(states, token_ids, strict=True)]
        has_mask = [state.has_mask or must for state, must in zip(states, must_stop, strict=True)]
        others = _all_kinds(edited_rows, has_mask, states, token_ids)
        masked = list(itertools.compress(states, has_mask))
        stops = list(itertools.compress(must_stop, has_mask))
    start = time.monotonic()
    masks = _masks(masked, mask_rows)
    seconds = time.monotonic() - start
    for row, must_stop_thinking in enumerate(stops):
        if must_stop_thinking and (masks[row] & masked[row].closing_mask).any():
            masks[row] = masked[row].closing_mask
    for _, request, state in edited:
        if state.constraint is not None:
            request.metrics.add_grammar_time(seconds)
    return LogitEdits(masks=masks, **others)


def _all_kinds(
    rows: tuple[int, ...],
    has_mask: Sequence[bool],
    states: Sequence[EditState],
    token_ids: Sequence[Sequence[int]],
) -> dict[str, Any]:
    """The fields of `LogitEdits` but the masks themselves."""
    biases = [state.biases(ids) for state, ids in zip(states, token_ids, strict=True)]
    seen = [state.seen(ids) for state, ids in zip(states, token_ids, strict=True)]
    penalties = np.array([state.penalties for state in states], np.float32)
    mask_numbers = itertools.count()
    return {
        "rows": np.array(rows, np.int32),
        "mask_index": np.array([next(mask_numbers) if has else -1 for has in has_mask], np.int32),
        "bias_start": _starts([ids for ids, _ in biases]),
        "bias_ids": np.concatenate([ids for ids, _ in biases]),
        "biases": np.concatenate([values for _, values in biases]),
        "seen_start": _starts([ids for ids, _ in seen]),
        "seen_ids": np.concatenate([ids for ids, _ in seen]),
        "seen_counts": np.concatenate([counts for _, counts in seen]),
        "repetition_penalty": penalties[:, 0].copy(),
        "frequency_penalty": penalties[:, 1].copy(),
        "presence_penalty": penalties[:, 2].copy(),
    }


@lru_cache(maxsize=64)
def _nothing_but_masks(rows: tuple[int, ...]) -> dict[str, Any]:
    """The same where every row has a mask alone, as most constrained ones do; kept, since steps are alike."""
    num_states = len(rows)
    starts, zeros = np.zeros(num_states + 1, np.int32), np.zeros(num_states, np.float32)
    return {
        "rows": np.array(rows, np.int32),
        "mask_index": np.arange(num_states, dtype=np.int32),
        "bias_start": starts,
        "bias_ids": _NO_IDS,
        "biases": np.empty(0, np.float32),
        "seen_start": starts,
        "seen_ids": _NO_IDS,
        "seen_counts": _NO_IDS,
        "repetition_penalty": np.ones(num_states, np.float32),
        "frequency_penalty": zeros,
        "presence_penalty": zeros,
    }


def _fixed_mask(request: EngineRequest, vocab_size: int) -> UInt32 | None:
    """What the request allows at any time; None where that is everything."""
    allowed, mask = request.params.allowed_token_ids, None
    if allowed is not None:
        mask = token_mask(allowed, vocab_size)
    if request.grammar is not None and request.grammar.end_token_ids and not request.eos_token_ids:
        # The request ignores ends of sequence, which the grammar would take for the end.
        others = _all_but(tuple(request.grammar.end_token_ids), vocab_size)
        mask = others if mask is None else mask & others
    return mask


@lru_cache(maxsize=8)
def _all_but(token_ids: tuple[int, ...], vocab_size: int) -> UInt32:
    return ~token_mask(token_ids, vocab_size)


def _masks(states: Sequence[EditState], mask_rows: UInt32) -> UInt32:
    """What each of them allows next, in the first rows."""
    masks = mask_rows[: len(states)]
    places = [(s.constraint, row) for row, s in enumerate(states) if s.constraint is not None]
    if places:
        grammar = next(state.grammar for state in states if state.grammar is not None)
        grammar.fill_masks(places, masks)
    fixed = [state.mask for state in states]
    if places and len(places) == len(states) and all(mask is fixed[0] for mask in fixed):
        if fixed[0] is not None:
            masks &= fixed[0]
    else:
        for row, state in enumerate(states):
            if state.constraint is None:
                masks[row] = _ALL if state.mask is None else state.mask
            elif state.mask is not None:
                masks[row] &= state.mask
    return masks


def _starts(parts: Sequence[Int32]) -> Int32:
    return np.array([0, *itertools.accumulate(map(len, parts))], np.int32)
