"""A SentencePiece tokenizer, as a `tokenizer.json` has it, -> GGUF's model `llama`: scores instead of merges.

GGUF knows no merges here: llama.cpp merges any two neighbours whose texts together are a token, the highest
score first. So a list of merges can be written if it has them all, and all of one token beside each other;
lists that were converted from SentencePiece have both. Knows the file as JSON; nothing of special tokens'
roles.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPACE = "▁"
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
_PREPEND = {"type": "Prepend", "prepend": SPACE}
_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
_METASPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "never", "split": False}


def has_space_prefix(raw: Mapping[str, Any]) -> bool:
    """Whether every text begins with a space more, also one that follows a special token.

    Raises:
        ValueError: it treats spaces in a way that GGUF has no key for.
    """
    normalizer, splitter = raw.get("normalizer"), raw.get("pre_tokenizer")
    steps = [] if normalizer is None else normalizer.get("normalizers", [normalizer])
    if splitter is None and steps in ([_PREPEND, _REPLACE], [_REPLACE]):
        return _PREPEND in steps
    if not steps and splitter == _METASPACE:
        return False
    raise ValueError(
        f"it has the normalizer {normalizer!r:.200} and the pre-tokenizer {splitter!r:.200}; GGUF can only "
        f"say that every space becomes {SPACE}, with or without one more before every text: the normalizers "
        "Prepend and Replace, or the pre-tokenizer Metaspace that never prepends and does not split"
    )


def check_bytes(tokens: Sequence[str]) -> None:
    """Raises ValueError: a byte has no token, so llama.cpp could not write every text."""
    missing = set(BYTE_TOKENS).difference(tokens)
    if missing:
        raise ValueError(f"it lacks {len(missing)} of the 256 tokens for bytes, such as {min(missing)}")


def merge_scores(
    tokens: Sequence[str], merges: Sequence[tuple[str, str]], whole: frozenset[str]
) -> NDArray[np.float32]:
    """Each token's score, by which llama.cpp merges what the merges, best first, would.

    whole: tokens that are found in texts before anything merges.

    Raises:
        ValueError: no scores do so.
    """
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    firsts: dict[str, int] = {}
    previous = None
    for left, right in merges:
        token = left + right
        if token != previous and token in firsts:
            raise ValueError(f"its merges make {token!r:.80} at two places of the order, between others")
        firsts.setdefault(token, ranks[left, right])
        previous = token
    for pair in _possible_merges(tokens, whole):
        if pair not in ranks:
            raise ValueError(
                f"{pair[0]!r:.80} and {pair[1]!r:.80} do not merge though {''.join(pair)!r:.80} is a token; "
                "llama.cpp merges any two texts that together are a token"
            )
    # Of what nothing merges into, the score does not matter.
    return np.array([-float(firsts.get(token, len(merges))) for token in tokens], np.float32)


def _possible_merges(tokens: Sequence[str], whole: frozenset[str]) -> Iterator[tuple[str, str]]:
    """What llama.cpp would merge: it begins with single characters, tokens or not."""
    known = set(tokens) - whole
    for token in known:
        for i in range(1, len(token)):
            left, right = token[:i], token[i:]
            if all(len(part) == 1 or part in known for part in (left, right)):
                yield left, right
