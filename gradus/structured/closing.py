"""Closing a text before `max_tokens` cuts it off: which tokens lead to its end, and how many that takes.

A model may go on inside a string, a list or a number for as long as it is let. When only about as many tokens
are left as the shortest way to a complete text needs, that way is taken: of the tokens that the grammar
allows, only the class that ends most is left. The classes suit JSON; for other grammars they mean that an end
is taken wherever there is one. Knows masks and matchers, no requests.

Sets of tokens are integers here, token t being bit t: for the hundreds of operations that looking for a way
takes, NumPy's calls would cost more than the words that they work on.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradus.batch import UInt32

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_TOKENS = 256  # ways to the end that are longer are not looked for
MAX_MARGIN = 16  # tokens that the model may take more than the way that was found; the share of max_tokens:
MARGIN_SHARE = 1 / 16

_BRACKETS = b"]}"
_BETWEEN = b"]},: "
_MARKS = b"!#$%&'()*/;<=>?@^_`|~."
_LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OPENING = b"[{ \t\r\n"


def _is_of(text: bytes, members: bytes) -> bool:
    return not text.translate(None, members)


# What a token must be; an earlier class comes before a later one.
_CLASSES: dict[str, Callable[[bytes], bool]] = {
    "bracket": lambda text: _is_of(text, _BRACKETS),
    "quote": lambda text: text[0] == 0x22 and _is_of(text[1:], _BRACKETS),
    "between": lambda text: text[0] != 0x20 and _is_of(text, _BETWEEN),
    "mark": lambda text: _is_of(text, _MARKS),
    "letters": lambda text: _is_of(text, _LETTERS),  # null rather than a list; Z rather than a digit more
    "other": lambda text: text[0] not in _OPENING,
}
_OUTSIDE = ("end", "bracket", "quote", "between", "mark", "letters", "other")
_IN_STRING = ("end", "quote", "letters", "other")  # where brackets are text


class Closer:
    """The ways to an end over one vocabulary."""

    def __init__(self, texts: Sequence[bytes], special: frozenset[int], end_token_ids: Sequence[int]) -> None:
        """texts: of all tokens, empty for those without one."""
        members: dict[str, list[int]] = {"end": list(end_token_ids), **{name: [] for name in _CLASSES}}
        for token_id, text in enumerate(texts):
            if text and token_id not in special:
                name = next((name for name, holds in _CLASSES.items() if holds(text)), None)
                if name is not None:
                    members[name].append(token_id)
        sets = {name: _set_of(ids, len(texts)) for name, ids in members.items()}
        self._outside = [sets[name] for name in _OUTSIDE]
        self._in_string = [sets[name] for name in _IN_STRING]
        self._braces = [
            _set_of([i for i, text in enumerate(texts) if text == brace], len(texts))
            for brace in (b"{", b"}")
        ]
        self._starts = _set_of([i for i, text in enumerate(texts) if not _goes_on(text)], len(texts))

    def is_inside_character(self, allowed: int) -> bool:
        """Whether nothing is allowed but the rest of a character's bytes."""
        return not allowed & self._starts

    def narrow(self, allowed: int) -> tuple[int, bool]:
        """What ends most of the tokens that are allowed; whether that is an end of sequence."""
        # Between JSON's parts an object may begin or end, never both.
        is_string = all(allowed & brace for brace in self._braces)
        for index, tokens in enumerate(self._in_string if is_string else self._outside):
            if left := allowed & tokens:
                return left, index == 0
        return allowed, False

    def num_tokens_to_end(self, matcher: "LLMatcher", most: int) -> int | None:
        """How many tokens a text takes from here to its end, that one included; None if over `most`."""
        scout = matcher.deep_copy()
        num_tokens = 0
        while num_tokens < most:
            if given := scout.compute_ff_tokens():  # without a choice, so without a mask
                if not scout.consume_tokens(given):
                    return None
                num_tokens += len(given)
                continue
            left, is_end = self.narrow(int.from_bytes(scout.compute_bitmask(), "little"))
            num_tokens += 1
            if is_end:
                return num_tokens
            # The highest token id of a class: later merges are longer, as a model's own tokens are.
            if not left or not scout.consume_token(left.bit_length() - 1):
                return None
        return None


def _goes_on(text: bytes) -> bool:
    """Whether a token starts inside a character."""
    return bool(text) and 0x80 <= text[0] < 0xC0


def _set_of(token_ids: Sequence[int], size: int) -> int:
    bits = np.zeros(size, np.uint8)
    bits[list(token_ids)] = 1
    return int.from_bytes(np.packbits(bits, bitorder="little").tobytes(), "little")


def _as_set(mask: UInt32) -> int:
    return int.from_bytes(mask.astype("<u4").tobytes(), "little")


class Deadline:
    """When one choice has to take the way to its end.

    Looking for the way costs as much as many tokens, so it is done at ever shorter intervals, and not again
    while the text stays in one place, such as inside a string: masks are all alike there, and so are ways.
    """

    __slots__ = (
        "_closer",
        "_is_closing",
        "_look_at",
        "_margin",
        "_may_be_cut",
        "_num_needed",
        "_place",
        "_seen_at",
        "_was_in_reach",
        "num_left",
    )

    def __init__(
        self, closer: Closer, max_tokens: int, num_needed: int | None, *, may_be_cut: bool = False
    ) -> None:
        """What is known at the start.

        num_needed: tokens of the shortest text; None if they are more than are looked for.
        may_be_cut: leave a text alone until it has come to where it cannot end; free text can anywhere.
        """
        self._closer = closer
        self._may_be_cut = may_be_cut
        self._margin = min(MAX_MARGIN, int(max_tokens * MARGIN_SHARE))
        self._was_in_reach = False
        self._is_closing = False
        self._look_at = MAX_TOKENS  # tokens left when it is time to look again
        self._place = b""  # the mask at the last look
        self._num_needed: int | None = None  # from there; None: the text has left it
        self._seen_at = 0  # tokens left when the place was last seen
        self.num_left = max_tokens
        if self.is_near and not may_be_cut:
            self._decide(num_needed)

    @property
    def is_near(self) -> bool:
        return self.num_left <= MAX_TOKENS

    def narrow(self, mask: UInt32, matcher: "LLMatcher") -> None:
        """Leave what ends the text in the mask, if it is time; call it at every step when `is_near`."""
        if self._may_be_cut:
            if matcher.is_accepting() or self._closer.is_inside_character(_as_set(mask)):
                return
            self._may_be_cut = False
        if not self._is_closing:
            # Of several tokens in one step some may have led away and back.
            if self._num_needed is not None and (
                self._seen_at - self.num_left > 1 or mask.tobytes() != self._place
            ):
                self._num_needed = None
            self._seen_at = self.num_left
            if self.num_left > self._look_at:
                return
            if self._num_needed is None:
                self._place = mask.tobytes()
                self._num_needed = self._closer.num_tokens_to_end(matcher, min(self.num_left, MAX_TOKENS))
            self._decide(self._num_needed)
        if self._is_closing:
            left, _ = self._closer.narrow(_as_set(mask))
            mask[:] = np.frombuffer(left.to_bytes(mask.nbytes, "little"), "<u4")

    def _decide(self, num_needed: int | None) -> None:
        """Take the way now, or say when to look again."""
        needed = self.num_left + 1 if num_needed is None else num_needed
        spare = self.num_left - self._margin - needed
        if spare > 0:
            self._was_in_reach = True
            self._look_at = self.num_left - max(1, spare // 4)
        elif needed <= self.num_left or self._was_in_reach:
            self._is_closing = True
        else:
            self._look_at = self.num_left // 2  # out of reach, but that may change
