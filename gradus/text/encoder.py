"""Encoders: what a `Tokenizer` needs of a vocabulary, from the `tokenizers` library or from tables.

`TableEncoder` starts at once and serves nearly all models; `LibraryEncoder` serves the rest.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from gradus.text.pieces import Pieces, make_pieces
from gradus.text.vocabulary import Vocabulary, with_tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer


class Encoder(Protocol):
    """Texts to ids and back, and what the ids are called."""

    @property
    def pieces(self) -> Pieces | None:
        """The byte view of the vocabulary, where there is one."""

    def mark_special(self, tokens: Iterable[str]) -> None:
        """Make these special, where they are tokens: found in texts to encode, and of no text themselves."""

    def encode(self, text: str, add_special_tokens: bool) -> list[int]: ...

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of a sequence, special tokens included; unknown ids have none."""

    def token_id(self, token: str) -> int | None: ...

    @property
    def size(self) -> int:
        """One more than the highest id."""

    @property
    def special_ids(self) -> frozenset[int]: ...


class LibraryEncoder:
    """A tokenizer of the library as it is."""

    def __init__(self, library: "LibraryTokenizer") -> None:
        self._library = library
        library.no_truncation()
        library.no_padding()
        self.pieces = make_pieces(_decoder(library), self._token)

    def mark_special(self, tokens: Iterable[str]) -> None:
        # Names outside the vocabulary stay out: the model has no row for them.
        _add_special(self._library, [token for token in tokens if self.token_id(token) is not None])

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        # The batch call skips the offsets, which nobody reads, and lets other Python threads run meanwhile.
        return self._library.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    def decode(self, token_ids: Iterable[int]) -> str:
        if self.pieces is not None:
            return self.pieces.decode(token_ids)
        size = self.size
        known = [token_id for token_id in token_ids if 0 <= token_id < size]
        return self._library.decode(known, skip_special_tokens=False)

    def token_id(self, token: str) -> int | None:
        return self._library.token_to_id(token)

    @property
    def size(self) -> int:
        added = self._library.get_added_tokens_decoder()
        return max(self._library.get_vocab_size(with_added_tokens=True), max(added, default=-1) + 1)

    @property
    def special_ids(self) -> frozenset[int]:
        return _special_ids(self._library)

    def _token(self, token_id: int) -> str | None:
        return self._library.id_to_token(token_id) if 0 <= token_id < 2**32 else None


class TableEncoder:
    """The front cuts a text into words and those into their smallest tokens, which the table merges."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        """Raises:
        ValueError: the tables are no `Vocabulary`, or its tokens cannot be decoded one by one.
        """
        self.vocabulary = vocabulary
        self._merges = vocabulary.merge_table()
        self._front = _read_front(vocabulary.front)
        pieces = make_pieces(_decoder(self._front), vocabulary.token)
        if pieces is None:
            raise ValueError("the tokens cannot be decoded one by one")
        self.pieces = pieces

    def mark_special(self, tokens: Iterable[str]) -> None:
        found = {token: token_id for token in tokens if (token_id := self.token_id(token)) is not None}
        if any(self._front.token_to_id(token) is None for token in found):
            self._front = _read_front(with_tokens(self.vocabulary.front, found))
        _add_special(self._front, list(found))

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        cut = self._front.encode_batch([text], add_special_tokens=add_special_tokens)[0]
        return self._merges.merge(cut.ids, cut.word_ids)

    def decode(self, token_ids: Iterable[int]) -> str:
        return self.pieces.decode(token_ids)

    def token_id(self, token: str) -> int | None:
        known = self._front.token_to_id(token)
        return self.vocabulary.token_id(token) if known is None else known

    @property
    def size(self) -> int:
        return self.vocabulary.size

    @property
    def special_ids(self) -> frozenset[int]:
        return _special_ids(self._front)


def _read_front(front: str) -> "LibraryTokenizer":
    from tokenizers import Tokenizer as LibraryTokenizer

    try:
        return LibraryTokenizer.from_str(front)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"the library cannot read the front: {error}") from error


def _decoder(library: "LibraryTokenizer") -> dict[str, Any] | None:
    return None if library.decoder is None else json.loads(library.decoder.__getstate__())


def _special_ids(library: "LibraryTokenizer") -> frozenset[int]:
    added = library.get_added_tokens_decoder()
    return frozenset(token_id for token_id, token in added.items() if token.special)


def _add_special(library: "LibraryTokenizer", tokens: Sequence[str]) -> None:
    from tokenizers import AddedToken

    marked = {token.content for token in library.get_added_tokens_decoder().values() if token.special}
    library.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in tokens if token not in marked]
    )
