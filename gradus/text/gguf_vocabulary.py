"""The vocabulary in a GGUF file's metadata, as tables that give llama.cpp's ids.

Two models are read: `gpt2` (byte-level BPE) with the pre-tokenizers in `_SPLITS`, and `llama`
(SentencePiece's BPE, with bytes for characters that are no tokens). Control and user-defined tokens are found
in texts by their names. Nothing is normalized: llama.cpp does not either. Errors are ValueErrors; the caller
knows which file they are about.

Source of the rules: llama.cpp's vocabulary code; the tests compare with it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from numbers import Real
from typing import Any

from gradus.text.vocabulary import Merge, Vocabulary, make_vocabulary

Metadata = Mapping[str, Any]

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (_WORDS + r"\p{N}{1,3}" + _REST,)

# tokenizer.ggml.pre -> what a text is split at, in turns.
_SPLITS = {
    "qwen2": (_WORDS + r"\p{N}" + _REST,),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
}
_SPACE = "▁"
MAX_TOKEN_CHARS = 1024  # every way to cut a token in two is looked at
MAX_SCORED_MERGES = 1 << 21  # the largest published vocabularies have a third of it


class TokenKind(IntEnum):
    """The values of `tokenizer.ggml.token_type`."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


def check_supported(metadata: Metadata) -> None:
    """Raises ValueError: the tokenizer is of a kind that is not read here."""
    model = metadata.get("tokenizer.ggml.model")
    if model is None:
        raise ValueError("it has no tokenizer (tokenizer.ggml.model)")
    if model not in ("gpt2", "llama"):
        raise ValueError(f"its tokenizer is {model!r:.80}; gpt2 (byte-level BPE) and llama are supported")
    pre = _pre_tokenizer(metadata)
    if model == "gpt2" and (not isinstance(pre, str) or pre not in _SPLITS):
        raise ValueError(f"its pre-tokenizer is {pre!r:.80}; supported are {', '.join(_SPLITS)}")


def special_id(metadata: Metadata, role: str) -> int | None:
    """The id of the token with a role, such as "bos"; None where there is none, or no such token.

    Raises:
        ValueError: it is no number.
    """
    defaults = {"bos": 1, "eos": 2, "unknown": 0} if metadata["tokenizer.ggml.model"] == "llama" else {}
    key = f"tokenizer.ggml.{role}_token_id"
    token_id = metadata.get(key, defaults.get(role, -1))
    if not isinstance(token_id, int) or isinstance(token_id, bool):
        raise ValueError(f"{key} is {token_id!r:.80}, not an integer")
    return token_id if 0 <= token_id < len(tokens_of(metadata)) else None


def tokens_of(metadata: Metadata) -> Sequence[str]:
    """All tokens, by id. Raises ValueError: there are none."""
    return _array(metadata, "tokenizer.ggml.tokens")


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """The tables.

    Raises:
        ValueError: the metadata contradicts itself, or is of a kind that is not supported.
    """
    check_supported(metadata)
    tokens = _texts(metadata, "tokenizer.ggml.tokens")
    _check_lengths(tokens)
    kinds = _per_token(metadata, "tokenizer.ggml.token_type", len(tokens))
    if metadata["tokenizer.ggml.model"] == "gpt2":
        merges = _ranked_merges(_texts(metadata, "tokenizer.ggml.merges"), tokens)
        whole_words_first = _pre_tokenizer(metadata) in _LLAMA3_NAMES
        front = _byte_level_front(metadata)
    else:
        merges = _scored_merges(tokens, _per_token(metadata, "tokenizer.ggml.scores", len(tokens)))
        whole_words_first = False
        front = _sentencepiece_front(metadata, tokens)
    front |= {
        "added_tokens": _added_tokens(tokens, kinds),
        "post_processor": _post_processor(metadata, tokens),
    }
    return make_vocabulary(front, tokens, merges, whole_words_first=whole_words_first)


def _check_lengths(tokens: Sequence[str]) -> None:
    longest = max(map(len, tokens), default=0)
    if longest > MAX_TOKEN_CHARS:
        raise ValueError(
            f"tokenizer.ggml.tokens has a token of {longest:,} characters; up to {MAX_TOKEN_CHARS:,} are read"
        )


_LLAMA3_NAMES = frozenset(name for name, splits in _SPLITS.items() if splits is _LLAMA3)


def _pre_tokenizer(metadata: Metadata) -> Any:
    return metadata.get("tokenizer.ggml.pre", "default")


def _byte_level_front(metadata: Metadata) -> dict[str, Any]:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    splits = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in _SPLITS[_pre_tokenizer(metadata)]
    ]
    return {
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, byte_level]},
        "decoder": byte_level,
        "model": {"type": "BPE", "unk_token": None, "byte_fallback": False, "fuse_unk": False},
    }


def _sentencepiece_front(metadata: Metadata, tokens: Sequence[str]) -> dict[str, Any]:
    """A space before every text, also before one that follows a special token, where the file asks for it."""
    prefix = _flag(metadata, "add_space_prefix", default=True)
    unknown = special_id(metadata, "unknown")
    return {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                *([{"type": "Prepend", "prepend": _SPACE}] if prefix else []),
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []),
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": None if unknown is None else tokens[unknown],
            "byte_fallback": True,
            "fuse_unk": False,
        },
    }


def _ranked_merges(merges: Sequence[str], tokens: Sequence[str]) -> Iterator[Merge]:
    """Pairs written with a space between, the first to merge first."""
    ids = {token: token_id for token_id, token in enumerate(tokens)}
    for rank, merge in enumerate(merges):
        space = merge.find(" ", 1)
        left, right = merge[:space], merge[space + 1 :]
        if space < 0 or any(part not in ids for part in (left, right, left + right)):
            raise ValueError(f"tokenizer.ggml.merges[{rank}] is {merge!r:.80}, which does not merge tokens")
        yield ids[left], ids[right], rank, ids[left + right]


def _scored_merges(tokens: Sequence[str], scores: Sequence[float]) -> Iterator[Merge]:
    """Any two tokens whose texts together are a token's merge; the highest score first."""
    ids = {token: token_id for token_id, token in enumerate(tokens) if token}
    if any(math.isnan(score) for score in scores):
        raise ValueError("tokenizer.ggml.scores has a value that is no number")
    ranks = {score: rank for rank, score in enumerate(sorted(set(scores), reverse=True))}
    num_merges = 0
    for token, token_id in ids.items():
        for i in range(1, len(token)):
            left, right = ids.get(token[:i]), ids.get(token[i:])
            if left is not None and right is not None:
                yield left, right, ranks[scores[token_id]], token_id
                num_merges += 1
        if num_merges > MAX_SCORED_MERGES:
            raise ValueError(
                f"tokenizer.ggml.tokens has more than {MAX_SCORED_MERGES:,} pairs of tokens that make a token"
            )


def _added_tokens(tokens: Sequence[str], kinds: Sequence[float]) -> list[dict[str, Any]]:
    """What is found in a text by name; only user-defined tokens belong to the text then."""
    found = (TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.USER_DEFINED)
    rules = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": token_id, "content": token, "special": kind != TokenKind.USER_DEFINED, **rules}
        for token_id, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind in found and token
    ]


def _post_processor(metadata: Metadata, tokens: Sequence[str]) -> dict[str, Any] | None:
    """The beginning and the end that are added to a text."""
    is_llama = metadata["tokenizer.ggml.model"] == "llama"
    adds_bos = _flag(metadata, "add_bos_token", default=is_llama or _pre_tokenizer(metadata) in _LLAMA3_NAMES)
    adds_eos = _flag(metadata, "add_eos_token", default=False)
    bos = special_id(metadata, "bos") if adds_bos else None
    eos = special_id(metadata, "eos") if adds_eos else None
    if bos is None and eos is None:
        return None
    before = [] if bos is None else [{"SpecialToken": {"id": tokens[bos], "type_id": 0}}]
    after = [] if eos is None else [{"SpecialToken": {"id": tokens[eos], "type_id": 0}}]
    texts = [[{"Sequence": {"id": name, "type_id": 0}}] for name in ("A", "B")]
    return {
        "type": "TemplateProcessing",
        "single": [*before, *texts[0], *after],
        "pair": [*before, *texts[0], *texts[1], *after],
        "special_tokens": {
            tokens[token_id]: {"id": tokens[token_id], "ids": [token_id], "tokens": [tokens[token_id]]}
            for token_id in (bos, eos)
            if token_id is not None
        },
    }


def _flag(metadata: Metadata, name: str, *, default: bool) -> bool:
    value = metadata.get(f"tokenizer.ggml.{name}", default)
    if not isinstance(value, bool):
        raise ValueError(f"tokenizer.ggml.{name} is {value!r:.80}, not true or false")
    return value


def _array(metadata: Metadata, key: str) -> Any:
    value = metadata.get(key)
    if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise ValueError(f"{key} is {'missing' if value is None else f'{value!r:.80}, not an array'}")
    return value


def _texts(metadata: Metadata, key: str) -> list[str]:
    values = list(_array(metadata, key))
    for value in values:
        if not isinstance(value, str):
            raise ValueError(f"{key} has {value!r:.80}, not text")
    return values


def _per_token(metadata: Metadata, key: str, num_tokens: int) -> list[float]:
    """An array of numbers with one for each token."""
    values = _array(metadata, key)
    if len(values) != num_tokens:
        raise ValueError(f"{key} has {len(values):,} values for {num_tokens:,} tokens")
    for value in values:
        if not isinstance(value, Real):
            raise ValueError(f"{key} has {value!r:.80}, not a number")
    return [float(value) for value in values]
