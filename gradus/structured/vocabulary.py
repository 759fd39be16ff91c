"""A model's vocabulary as llguidance wants it: the bytes of every token, and which tokens end a text.

Knows our `Tokenizer`. The result is a trie of all tokens, built once per model, at the first request that
needs it.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from gradus.errors import InvalidRequestError
from gradus.structured.cache import LruCache
from gradus.structured.closing import Closer
from gradus.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer

MAX_GIVEN_BYTES = 256  # of a text that a grammar leaves no choice about: looked at in parts of so much
MAX_KNOWN_PARTS = 4096
_MARK = "\x02"  # a character that joins no other in a token


class Vocabulary:
    """What masks range over.

    Attributes:
        size: the model's number of token ids, which may be more than the tokenizer knows.
        end_token_ids: the end-of-sequence tokens; none if the model has none.
        tokens: the tokens as a trie.
        closer: the ways to the end of a text.
        num_mask_words: 32-bit words of a mask that llguidance writes.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, end_token_ids: Collection[int]) -> None:
        """Raises:
        InvalidRequestError: the tokenizer's texts are not made of its tokens' texts.
        """
        if tokenizer.pieces is None:
            raise InvalidRequestError(
                "structured output does not work with this model: its tokenizer does not decode token by "
                "token, so what a token adds to a text is not known",
                "structured_outputs",
            )
        self.size = size
        self.end_token_ids = tuple(sorted(token for token in end_token_ids if token < size))
        texts = [tokenizer.token_bytes(token_id) for token_id in range(size)]
        special = frozenset(token for token in tokenizer.special_ids if token < size)
        ends = self.end_token_ids
        if not ends:
            # llguidance wants one: an id beyond the model's, which no choice can sample.
            ends = (size,)
            texts.append(b"<end>")
        self.tokens = _trie(tokenizer, texts, special, ends)
        self.closer = Closer(texts, special, ends)
        self.num_mask_words = -(-self.tokens.vocab_size // 32)


def _trie(
    tokenizer: Tokenizer, texts: Sequence[bytes], special: frozenset[int], end_token_ids: Sequence[int]
) -> "LLTokenizer":
    from llguidance import LLTokenizer, TokenizerWrapper

    described = _Described(tokenizer, texts, sorted(special.union(end_token_ids)), end_token_ids[0])
    trie = LLTokenizer(TokenizerWrapper(described), n_vocab=len(texts), eos_token=list(end_token_ids))
    described.trie = trie
    return trie


class _Described:
    """The attributes and the call that llguidance expects of a tokenizer."""

    bos_token_id = None
    trie: "LLTokenizer | None" = None  # once it is built

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[bytes], special: list[int], eos: int) -> None:
        self._tokenizer = tokenizer
        self.tokens = tokens
        self.special_token_ids = special
        self._special = frozenset(special)
        self.eos_token_id = eos
        self._known = LruCache[str, list[int]](
            MAX_KNOWN_PARTS
        )  # schemas have few, and they come all the time

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens of a given part of a text, or of its beginning: without what starts a text elsewhere."""
        given = text.encode() if isinstance(text, str) else text
        known = given[:MAX_GIVEN_BYTES].decode("utf-8", "ignore")
        token_ids = self._known.get_or_make(known, lambda: self._tokens_of(known))
        # Where the part goes on, its last tokens here may not be what they would be there.
        return token_ids[:] if len(known.encode()) == len(given) else token_ids[:-2]

    def _tokens_of(self, text: str) -> list[int]:
        wanted = text.encode()
        for mark in ("", _MARK):
            token_ids = self._tokenizer.encode(mark + text, add_special_tokens=False)
            while token_ids and len(self._bytes(token_ids)) > len(wanted):
                del token_ids[0]
            if self._bytes(token_ids) == wanted and self._special.isdisjoint(token_ids):
                return token_ids
        return [] if self.trie is None else self.trie.greedy_tokenize(text)

    def _bytes(self, token_ids: Sequence[int]) -> bytes:
        return b"".join(self.tokens[token_id] for token_id in token_ids)
