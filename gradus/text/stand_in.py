"""A small vocabulary in the place of a large one: text for models of random weights, which have no tokenizer.

What such a model writes is noise in any case, but it is as much text, in as many pieces, as a real model's:
without it a server of one would have nothing to stream.
"""

from collections.abc import Iterable, Sequence

from gradus.text.encoder import Encoder
from gradus.text.pieces import Pieces


class StandInEncoder:
    """Implements `Encoder`: another one, and for every id that it does not know the text of one it knows."""

    def __init__(self, encoder: Encoder) -> None:
        """`encoder` has pieces."""
        assert encoder.pieces is not None
        self._encoder = encoder
        known = [token_id for token_id in range(encoder.size) if token_id not in encoder.special_ids]
        texts = [token_id for token_id in known if _is_text(encoder.pieces[token_id])]
        self.pieces = _RepeatedPieces(encoder.pieces, encoder.size, texts)

    def mark_special(self, tokens: Iterable[str]) -> None:
        self._encoder.mark_special(tokens)

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return self._encoder.encode(text, add_special_tokens)

    def decode(self, token_ids: Iterable[int]) -> str:
        return self.pieces.decode(token_ids)

    def token_id(self, token: str) -> int | None:
        return self._encoder.token_id(token)

    @property
    def size(self) -> int:
        """Of the vocabulary that stands in: the ids that texts are read as."""
        return self._encoder.size

    @property
    def special_ids(self) -> frozenset[int]:
        return self._encoder.special_ids


class _RepeatedPieces(Pieces):
    """Ids from `size` on stand for `texts`, over and over."""

    def __init__(self, pieces: Pieces, size: int, texts: Sequence[int]) -> None:
        super().__init__(lambda _: None, str.encode, pieces.num_leading_spaces)
        self._pieces = pieces
        self._size = size
        self._texts = texts

    def __getitem__(self, token_id: int) -> bytes:
        known = token_id if token_id < self._size else self._texts[token_id % len(self._texts)]
        return self._pieces[known]


def _is_text(piece: bytes) -> bool:
    """Whether it is characters, all of them whole."""
    try:
        return bool(piece.decode())
    except UnicodeDecodeError:
        return False
