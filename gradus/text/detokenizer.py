"""Incremental detokenizing: token ids in, the text that they complete out.

The deltas of a sequence concatenate to the text of the whole, however it is split. A delta is valid Unicode:
bytes of an unfinished character wait for the rest, and become U+FFFD once nothing can complete them.
Knows nothing of stop strings or requests.
"""

import codecs
from collections.abc import Iterable, Sequence

from gradus.text.pieces import Pieces
from gradus.text.tokenizer import Tokenizer

_MAX_HELD_TOKENS = 8  # a character has at most four bytes; beyond this a U+FFFD at the end is there to stay
_NUM_CONTEXT_TOKENS = 16  # of the prompt; enough to see how a text goes on


class Detokenizer:
    """Turns one growing sequence of token ids into text, in constant time per token.

    The text continues that of the prompt, if there is one: decoders that drop a space at the start of a text
    keep it then, so that prompt and output can be put together.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        skip_special_tokens: bool = True,
        prompt_token_ids: Sequence[int] = (),
        shown_special_ids: frozenset[int] = frozenset(),
    ) -> None:
        """shown_special_ids: are not skipped with the other special tokens."""
        self._special: frozenset[int] = tokenizer.special_ids if skip_special_tokens else frozenset()
        if shown_special_ids:
            self._special -= shown_special_ids
        recent = prompt_token_ids[-_NUM_CONTEXT_TOKENS:]
        context = [token_id for token_id in recent if token_id not in self._special]
        self._stream: _ByteStream | _Window
        if tokenizer.pieces is None:
            self._stream = _Window(tokenizer, context)
        else:
            self._stream = _ByteStream(tokenizer.pieces, is_start=not context)

    def push(self, token_ids: Iterable[int]) -> str:
        """Append tokens; returns the text that is now certain."""
        special = self._special
        return self._stream.push([token_id for token_id in token_ids if token_id not in special])

    def flush(self) -> str:
        """The text still held back; the sequence ends here."""
        return self._stream.flush()


class _ByteStream:
    """Exact: the text is the tokens' bytes read as UTF-8."""

    def __init__(self, pieces: Pieces, is_start: bool) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._spaces_to_strip = pieces.num_leading_spaces if is_start else 0

    def push(self, token_ids: list[int]) -> str:
        pieces = self._pieces
        return self._emit(self._decoder.decode(b"".join([pieces[token_id] for token_id in token_ids])))

    def flush(self) -> str:
        return self._emit(self._decoder.decode(b"", final=True))

    def _emit(self, text: str) -> str:
        if self._spaces_to_strip and text:
            stripped = text.lstrip(" ")
            spaces = min(len(text) - len(stripped), self._spaces_to_strip)
            # Anything but a space ends the start of the text.
            self._spaces_to_strip = 0 if stripped else self._spaces_to_strip - spaces
            text = text[spaces:]
        return text


class _Window:
    """For decoders whose text depends on the neighbouring tokens: decode a few tokens before the new ones.

    The text of tokens that are already out (`[start:done]`) is the context in which the new ones
    (`[done:]`) are decoded; what they add to it is the delta.
    """

    def __init__(self, tokenizer: Tokenizer, context: list[int]) -> None:
        self._tokenizer = tokenizer
        self._ids = context
        self._done = len(context)

    def push(self, token_ids: list[int]) -> str:
        return "".join([self._push_one(token_id) for token_id in token_ids])

    def _push_one(self, token_id: int) -> str:
        self._ids.append(token_id)
        text = self._decode(self._ids)
        if text.endswith("�") and len(self._ids) - self._done < _MAX_HELD_TOKENS:
            return ""
        return self._advance(text)

    def flush(self) -> str:
        return self._advance(self._decode(self._ids))

    def _advance(self, text: str) -> str:
        delta = text[len(self._decode(self._ids[: self._done])) :]
        if delta:
            self._ids = self._ids[self._done :]
            self._done = len(self._ids)
        elif len(self._ids) > 4 * _MAX_HELD_TOKENS:
            # Tokens without text leave no context worth keeping.
            self._ids = self._ids[-_MAX_HELD_TOKENS:]
            self._done = len(self._ids)
        return delta

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=False)
