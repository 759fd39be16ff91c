"""`Vocabulary`: a BPE tokenizer taken apart into tables that can lie in a file and be used from there.

Reading 150,000 tokens and as many merges into a tokenizer of the `tokenizers` library takes a third of a
second and more, and no other Python code runs meanwhile. Here the merges are a hash table over token ids
(`_bpe`), the tokens' texts lie one after the other, and only the *front* is a tokenizer of the library: one
that merges nothing. It normalizes, finds added tokens, cuts words into their smallest tokens, and adds what
the post-processor says. Knows no files.
"""

import json
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gradus.text._bpe import MergeTable, build_table
from gradus.text.pieces import make_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer

Buffer = bytes | memoryview
Merge = tuple[int, int, int, int]  # left, right, rank, token
WholeWords = tuple[tuple[tuple[int, ...], int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """The tables of one tokenizer.

    Attributes:
        front: a `tokenizer.json` whose model has the smallest tokens and the added ones, and no merges.
        texts: the texts of all tokens in UTF-8, by id.
        ends: where each id's text ends, as 32-bit integers; an id without a token has no text.
        merges: a table that `_bpe.build_table` wrote.
        whole_words: tokens that are words, by the words' smallest tokens: found before anything merges.
    """

    front: str
    texts: Buffer
    ends: Buffer
    merges: Buffer
    whole_words: WholeWords = ()

    def __post_init__(self) -> None:
        ends = memoryview(self.ends).cast("I")
        if (ends[-1] if len(ends) else 0) != len(self.texts):
            raise ValueError("the texts do not end where the last of them ends")

    def merge_table(self) -> MergeTable:
        return MergeTable(self.merges, self.whole_words)

    @property
    def size(self) -> int:
        """One more than the highest id."""
        return len(self.ends) // 4

    def token(self, token_id: int) -> str | None:
        """The text of a token; None for an id without one."""
        if not 0 <= token_id < self.size:
            return None
        ends = memoryview(self.ends).cast("I")
        begin = ends[token_id - 1] if token_id else 0
        return bytes(self.texts[begin : ends[token_id]]).decode() or None

    def token_id(self, token: str) -> int | None:
        """The id of a token by its text. Looks through all texts: for names that few ask for."""
        sought = token.encode()
        texts, ends = bytes(self.texts), memoryview(self.ends).cast("I")
        begin = texts.rfind(sought) if sought else -1
        while begin >= 0:
            token_id = bisect_right(ends, begin)  # the one that holds the byte at `begin`
            if (ends[token_id - 1] if token_id else 0) == begin and ends[token_id] == begin + len(sought):
                return token_id
            begin = texts.rfind(sought, 0, begin + len(sought) - 1)
        return None


def make_vocabulary(
    front: Mapping[str, Any],
    tokens: Sequence[str],
    merges: Iterable[Merge],
    *,
    whole_words_first: bool = False,
) -> Vocabulary:
    """The tables of a tokenizer.

    front: a `tokenizer.json` as an object; the vocabulary and the merges of its model do not count.
    tokens: each id's text, added tokens included; empty for an id without a token. Of two ids with the same
        text the higher one is that text's.
    whole_words_first: a word that is a token becomes that token, whatever the merges say.

    Raises:
        ValueError: the front is no tokenizer, or a token has a character that no token is.
    """
    ids = {text: token_id for token_id, text in enumerate(tokens) if text}
    texts = [text.encode() for text in tokens]
    table = build_table(list(merges))
    smallest = _smallest_tokens(front, ids)
    return Vocabulary(
        front=_with_model(front, {"vocab": smallest, "merges": [], "ignore_merges": False}),
        texts=b"".join(texts),
        ends=array("I", accumulate(map(len, texts))).tobytes(),
        merges=table,
        whole_words=_unmerged(MergeTable(table, ()), smallest, ids) if whole_words_first else (),
    )


def take_apart(text: str, library: "LibraryTokenizer") -> Vocabulary | None:
    """The tables of a `tokenizer.json`, which `library` has read; None where they cannot express it."""
    described = json.loads(text)
    model = described["model"]
    if model.get("type") != "BPE" or make_pieces(described.get("decoder"), library.id_to_token) is None:
        return None
    if any(model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")):
        return None
    ids = model["vocab"]
    added = {token.content: token_id for token_id, token in library.get_added_tokens_decoder().items()}
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    try:
        merges = [
            (ids[left], ids[right], rank, ids[left + right]) for rank, (left, right) in enumerate(pairs)
        ]
        return make_vocabulary(
            {**described, "truncation": None, "padding": None},
            _by_id({**ids, **added}),
            merges,
            whole_words_first=bool(model.get("ignore_merges")),
        )
    except (KeyError, ValueError):
        return None


def _by_id(ids: Mapping[str, int]) -> list[str]:
    size = max(ids.values(), default=-1) + 1
    if len(set(ids.values())) != len(ids) or size > 2 * len(ids):
        raise ValueError(f"{len(ids):,} tokens do not have as many ids, or ids as high as {size - 1:,}")
    tokens = [""] * size
    for text, token_id in ids.items():
        tokens[token_id] = text
    return tokens


def with_tokens(front: str, tokens: Mapping[str, int]) -> str:
    """A front that has more tokens."""
    described = json.loads(front)
    return _with_model(described, {"vocab": described["model"]["vocab"] | tokens})


def _with_model(front: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    return json.dumps({**front, "model": {**front["model"], **changes}})


def _smallest_tokens(front: Mapping[str, Any], ids: Mapping[str, int]) -> dict[str, int]:
    """What the front must know: single characters, and whole tokens that no merge makes."""
    named = {token["content"] for token in front.get("added_tokens", ())} | {front["model"].get("unk_token")}
    if front["model"].get("byte_fallback"):
        named |= {f"<0x{byte:02X}>" for byte in range(256)}
    return {text: token_id for text, token_id in ids.items() if len(text) == 1 or text in named}


def _unmerged(table: MergeTable, smallest: Mapping[str, int], ids: Mapping[str, int]) -> WholeWords:
    """The tokens that merging does not arrive at."""
    found = []
    for text, token_id in ids.items():
        if text in smallest:
            continue
        if any(char not in smallest for char in text):
            raise ValueError(f"the token {text!r} has a character that is no token")
        word = [smallest[char] for char in text]
        if table.merge(word, [0] * len(word)) != [token_id]:
            found.append((tuple(word), token_id))
    return tuple(found)
