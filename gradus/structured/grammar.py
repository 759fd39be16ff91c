"""Compiled grammars, and each choice's way through one, on llguidance's matcher.

The matcher itself is a state machine over bytes; which tokens fit its state is one walk over the trie of the
vocabulary. Implements the protocols of `gradus.constraints`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from gradus.batch import UInt32
from gradus.constraints import TokenConstraint
from gradus.errors import ConstraintError
from gradus.structured.closing import MAX_TOKENS, Deadline
from gradus.structured.vocabulary import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_REASON_CHARS = 300


class MatcherConstraint:
    """One choice's state in a grammar."""

    __slots__ = ("deadline", "matcher")

    def __init__(self, matcher: "LLMatcher", deadline: Deadline | None) -> None:
        self.matcher = matcher
        self.deadline = deadline

    @property
    def is_finished(self) -> bool:
        return self.matcher.is_stopped()

    def forced_tokens(self) -> list[int]:
        return self.matcher.compute_ff_tokens()

    def accept(self, token_id: int) -> None:
        if not self.matcher.consume_token(token_id):
            raise ConstraintError(f"the structured output cannot go on: {reason_of(self.matcher)}")
        if self.deadline is not None:
            self.deadline.num_left -= 1


class MatcherGrammar:
    """A grammar over a vocabulary."""

    def __init__(self, matcher: "LLMatcher", vocabulary: Vocabulary, ends_in_time: bool = True) -> None:
        """`matcher` is at the start, and stays there."""
        self._matcher = matcher
        self._ends_in_time = ends_in_time
        self._vocabulary = vocabulary
        self._num_needed = vocabulary.closer.num_tokens_to_end(matcher, MAX_TOKENS) if ends_in_time else None

    @property
    def end_token_ids(self) -> Sequence[int]:
        return self._vocabulary.end_token_ids

    def new_constraint(self, max_tokens: int | None) -> MatcherConstraint:
        deadline = None
        if max_tokens is not None:
            closer, may_be_cut = self._vocabulary.closer, not self._ends_in_time
            deadline = Deadline(closer, max_tokens, self._num_needed, may_be_cut=may_be_cut)
        return MatcherConstraint(self._matcher.deep_copy(), deadline)

    def fill_masks(self, places: Sequence[tuple[TokenConstraint, int]], masks: UInt32) -> None:
        # A model without an end-of-sequence token has one more here, which may need one more word.
        num_words, wanted = self._vocabulary.num_mask_words, masks.shape[1]
        target = masks if num_words == wanted else np.zeros((len(masks), num_words), np.uint32)
        address, row_bytes = target.ctypes.data, 4 * num_words
        # One by one: a mask takes some 10 us, less than it takes to wake llguidance's own threads for it.
        for constraint, row in cast("Sequence[tuple[MatcherConstraint, int]]", places):
            constraint.matcher.unsafe_compute_mask_ptr(address + row * row_bytes, row_bytes)
            deadline = constraint.deadline
            if deadline is not None and deadline.is_near:
                deadline.narrow(target[row], constraint.matcher)
            if target is not masks:
                masks[row] = target[row, :wanted]


def reason_of(matcher: "LLMatcher") -> str:
    """What a matcher says is wrong, in one line and without what it appends for its own developers."""
    lines = [line.strip() for line in matcher.get_error().splitlines()] or [""]
    if "coerce_one_of" in lines[0]:
        return "the alternatives of oneOf may overlap, which is not supported; write anyOf"
    # A regex's error is drawn over several lines; what is wrong with it comes last.
    causes = [line for line in lines[1:] if line.startswith("error:")]
    text = " ".join(lines[:1] + causes).rstrip(".") or "it has stopped"
    return text if len(text) <= MAX_REASON_CHARS else text[: MAX_REASON_CHARS - 3] + "..."
