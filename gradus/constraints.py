"""The boundary between the engine and whatever says which tokens may come next: grammars and constraints.

A `Grammar` is compiled once and shared by requests; each choice walks through it with a `TokenConstraint` of
its own, whose state follows the choice's output tokens and nothing else: not steps, nor what else runs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gradus.batch import UInt32
    from gradus.structured_outputs import StructuredOutputsParams


class TokenConstraint(Protocol):
    """What one choice may go on with."""

    @property
    def is_finished(self) -> bool:
        """Whether the output is complete and nothing may follow but an end-of-sequence token."""

    def forced_tokens(self) -> list[int]:
        """The tokens, or the first of those, that must come next and are all that masks would allow."""

    def accept(self, token_id: int) -> None:
        """Go on by a token.

        Raises:
            ConstraintError: it may not come here, or the grammar is too complex at this point.
        """


class Grammar(Protocol):
    """A compiled form of text."""

    @property
    def end_token_ids(self) -> Sequence[int]:
        """The end-of-sequence tokens, which masks allow where the output is complete."""

    def new_constraint(self, max_tokens: int | None) -> TokenConstraint:
        """One at the start of an output, which it ends within `max_tokens` if it can; None: it need not."""

    def fill_masks(self, places: Sequence[tuple[TokenConstraint, int]], masks: "UInt32") -> None:
        """Write what each constraint allows next into its row of `masks`, [n, ceil(vocab_size / 32)].

        The constraints may be of any grammars over the same vocabulary. Bits as in `LogitEdits.masks`.
        """


class GrammarCompiler(Protocol):
    """Makes grammars for one model's vocabulary."""

    def compile(self, params: "StructuredOutputsParams") -> Grammar:
        """Blocks for as long as it takes, which is limited; what was compiled recently is there at once.

        Raises:
            InvalidRequestError: says what is wrong with the form, or that it takes too long.
        """
