"""A Hugging Face tokenizer -> GGUF's metadata: tokens, how they merge, special tokens.

Byte-level BPE whose pre-tokenizer llama.cpp has under a name, and SentencePiece's BPE. What llama.cpp would
cut otherwise is refused. Source: llama.cpp's vocabulary code.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from gradus.errors import CheckpointError
from gradus.export.gguf_file import MetadataValue
from gradus.export.gguf_sentencepiece import (
    BYTE_TOKENS,
    check_bytes,
    has_space_prefix,
    merge_scores,
)
from gradus.models.json_file import read_json_object
from gradus.text.gguf_vocabulary import TokenKind
from gradus.text.hf_tokenizer import load_tokenizer
from gradus.text.tokenizer import Tokenizer

MAX_TOKENIZER_BYTES = 256 << 20


_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"

# What text is split at, in turns -> llama.cpp's name for it.
_PRE_TOKENIZERS = {
    (_WORDS + r"\p{N}" + _REST,): "qwen2",
    (_WORDS + r"\p{N}{1,3}" + _REST,): "llama-bpe",
    (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): "default",
    (_GPT2 + r"|\s+",): "gpt-2",
}


def tokenizer_metadata(
    directory: Path, vocab_size: int, eos_token_ids: tuple[int, ...]
) -> dict[str, MetadataValue]:
    """Metadata of the tokenizer in `directory`, filled up with unused tokens to `vocab_size`.

    `eos_token_ids`: what ends a sequence, besides the tokenizer's own end-of-sequence token.

    Raises:
        CheckpointError: the tokenizer is broken, larger than the vocabulary, or of a kind that GGUF lacks.
    """
    raw = read_json_object(directory / "tokenizer.json", MAX_TOKENIZER_BYTES)
    tokenizer = load_tokenizer(directory)
    where = str(directory / "tokenizer.json")
    model = raw.get("model") or {}
    if model.get("type") != "BPE":
        raise CheckpointError(
            f"{where} is a {model.get('type')} tokenizer; byte-level BPE and SentencePiece's BPE are written "
            "to GGUF"
        )
    tokens, kinds = _vocabulary(raw, vocab_size, where)
    try:
        metadata = (
            _sentencepiece(raw, tokens, kinds) if model.get("byte_fallback") else _byte_level(raw, tokens)
        )
        metadata |= _special_tokens(tokenizer, eos_token_ids)
        _check_defaults(metadata)
    except ValueError as error:
        raise CheckpointError(f"{where} cannot be written to GGUF: {error}") from error
    metadata["tokenizer.ggml.token_type"] = np.array(kinds, np.int32)
    if tokenizer.chat_template is not None:
        metadata["tokenizer.chat_template"] = tokenizer.chat_template
    return metadata


def _byte_level(raw: dict[str, Any], tokens: list[str]) -> dict[str, MetadataValue]:
    _check_added_tokens(raw, _RULES)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": _pre_tokenizer_name(raw.get("pre_tokenizer")),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in _merges(raw)],
    }


def _sentencepiece(raw: dict[str, Any], tokens: list[str], kinds: list[int]) -> dict[str, MetadataValue]:
    """`kinds` learns which tokens are bytes and which one stands for what is unknown."""
    check_bytes(tokens)
    has_prefix = has_space_prefix(raw)
    # With a prefix the library would look for the token's text with a space before it.
    _check_added_tokens(raw, [*_RULES, "normalized"] if has_prefix else _RULES)
    unknown = raw["model"].get("unk_token")
    added = frozenset(token["content"] for token in raw.get("added_tokens") or [])
    for token_id, token in enumerate(tokens):
        if token == unknown:
            kinds[token_id] = TokenKind.UNKNOWN
        elif token in BYTE_TOKENS and kinds[token_id] == TokenKind.NORMAL:
            kinds[token_id] = TokenKind.BYTE
    metadata: dict[str, MetadataValue] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": merge_scores(tokens, _merges(raw), added),
        "tokenizer.ggml.add_space_prefix": has_prefix,
    }
    if unknown in tokens:
        metadata["tokenizer.ggml.unknown_token_id"] = tokens.index(unknown)
    return metadata


_RULES = ["lstrip", "rstrip", "single_word"]


def _check_added_tokens(raw: dict[str, Any], rules: list[str]) -> None:
    """llama.cpp finds tokens by their text alone."""
    for token in raw.get("added_tokens") or []:
        found = [rule for rule in rules if token.get(rule)]
        if found:
            raise ValueError(
                f"its token {token['content']!r:.80} is found in texts by the rules {', '.join(found)}, for "
                "which GGUF has no key"
            )


def _check_defaults(metadata: dict[str, MetadataValue]) -> None:
    """Of a SentencePiece tokenizer without an end, llama.cpp takes token 2."""
    if metadata["tokenizer.ggml.model"] == "llama" and "tokenizer.ggml.eos_token_id" not in metadata:
        raise ValueError("it has no eos_token, for which llama.cpp would take the token 2; name one")


def _vocabulary(raw: dict[str, Any], vocab_size: int, where: str) -> tuple[list[str], list[int]]:
    """Every id's token and kind."""
    tokens: dict[int, str] = {token_id: token for token, token_id in raw["model"]["vocab"].items()}
    kinds = dict.fromkeys(tokens, TokenKind.NORMAL)
    for added in raw.get("added_tokens") or []:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = TokenKind.CONTROL if added.get("special") else TokenKind.USER_DEFINED
    if max(tokens, default=-1) >= vocab_size:
        raise CheckpointError(
            f"{where} has the token id {max(tokens):,}, but the model's vocabulary has {vocab_size:,} entries"
        )
    taken = set(tokens.values())
    for token_id in range(vocab_size):
        if token_id not in tokens:
            name = f"[PAD{token_id}]"
            tokens[token_id] = name if name not in taken else f"[UNUSED{token_id}]"
            kinds[token_id] = TokenKind.UNUSED
    order = range(vocab_size)
    return [tokens[token_id] for token_id in order], [kinds[token_id] for token_id in order]


def _pre_tokenizer_name(raw: dict[str, Any] | None) -> str:
    patterns = []
    for step in (raw or {}).get("pretokenizers", [raw]):
        kind = (step or {}).get("type")
        if kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            patterns.append(step["pattern"].get("Regex"))
        elif kind == "ByteLevel" and not step.get("add_prefix_space"):
            patterns += [_GPT2 + r"|\s+"] if step.get("use_regex", True) else []
        else:
            patterns.append(json.dumps(step))
    name = _PRE_TOKENIZERS.get(tuple(patterns))
    if name is None:
        raise ValueError(
            f"it splits text at {patterns!r:.400}, for which llama.cpp has no name that Gradus knows; "
            f"it writes {', '.join(_PRE_TOKENIZERS.values())}"
        )
    return name


def _merges(raw: dict[str, Any]) -> list[tuple[str, str]]:
    """Written as pairs by newer versions of the tokenizers library, with a space between before."""
    merges = raw["model"].get("merges") or []
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    return [(left, right) for left, right in pairs]


def _special_tokens(tokenizer: Tokenizer, eos_token_ids: tuple[int, ...]) -> dict[str, MetadataValue]:
    plain, whole = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    adds_bos, adds_eos = whole[:1] != plain[:1], whole[-1:] != plain[-1:]
    ends = list(dict.fromkeys([*eos_token_ids, *([] if eos_token_ids else [tokenizer.eos_token_id])]))
    if tokenizer.eos_token_id in ends:
        ends.sort(key=lambda token_id: token_id != tokenizer.eos_token_id)  # it goes first
    found = {
        "bos": whole[0] if adds_bos else tokenizer.bos_token_id,
        **dict(zip(("eos", "eot", "eom"), ends, strict=False)),
        "padding": tokenizer.pad_token_id,
    }
    ids = {f"tokenizer.ggml.{name}_token_id": value for name, value in found.items() if value is not None}
    return {**ids, "tokenizer.ggml.add_bos_token": adds_bos, "tokenizer.ggml.add_eos_token": adds_eos}
