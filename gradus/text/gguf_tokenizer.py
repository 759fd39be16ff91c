"""Tokenizers of GGUF files: the metadata `tokenizer.*` as a `Tokenizer`.

Knows which keys say what about special tokens and templates, and keeps the vocabulary in the disk cache; how
a vocabulary is read is `gguf_vocabulary`'s business. Knows nothing of how metadata is stored.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradus.disk_cache.store import DiskCache
from gradus.errors import CheckpointError
from gradus.text.encoder import TableEncoder
from gradus.text.gguf_vocabulary import Metadata, check_supported, read_vocabulary, special_id, tokens_of
from gradus.text.tokenizer import Tokenizer
from gradus.text.tokenizer_cache import find_encoder, keep_vocabulary, vocabulary_key

_ROLES = {
    "bos_token": "bos",
    "eos_token": "eos",
    "unk_token": "unknown",
    "sep_token": "seperator",  # so spelled in the format
    "pad_token": "padding",
    "mask_token": "mask",
}


def gguf_tokenizer(metadata: Metadata, path: str | Path, cache: DiskCache | None = None) -> Tokenizer:
    """The tokenizer of a GGUF file; its vocabulary is read at first use.

    metadata: the file's. Of its arrays only single items are looked at while the vocabulary is in the cache.
    path: the file, for the cache and for errors.
    cache: where vocabularies are kept; None: nowhere.

    Raises:
        CheckpointError: the tokenizer is of a kind that is not supported, or the metadata is broken.
    """
    with _named(path):
        check_supported(metadata)
        template = metadata.get("tokenizer.chat_template")
        if template is not None and not isinstance(template, str):
            raise ValueError(f"tokenizer.chat_template is {type(template).__name__}, not text")
        special_tokens = _special_tokens(metadata)
    return Tokenizer(
        lambda: _read_encoder(metadata, Path(path), cache), special_tokens, chat_template=template
    )


def _special_tokens(metadata: Metadata) -> dict[str, str]:
    ids = {role: special_id(metadata, name) for role, name in _ROLES.items()}
    tokens = {role: tokens_of(metadata)[token_id] for role, token_id in ids.items() if token_id is not None}
    return {role: token for role, token in tokens.items() if token}


def _read_encoder(metadata: Metadata, path: Path, cache: DiskCache | None) -> TableEncoder:
    """From the cache, else from the metadata."""
    key = None if cache is None else vocabulary_key(path)
    if cache is not None and key is not None:
        found = find_encoder(cache, key)
        if found is not None:
            return found
    with _named(path):
        encoder = TableEncoder(read_vocabulary(metadata))
    if cache is not None and key is not None:
        keep_vocabulary(cache, key, encoder.vocabulary)
    return encoder


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
