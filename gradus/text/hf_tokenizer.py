"""Tokenizers of Hugging Face checkpoints: `tokenizer.json`, and what the files beside it say of its tokens.

A large vocabulary is taken apart into tables once and kept in the disk cache; later starts map those.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradus.disk_cache.store import DiskCache
from gradus.errors import CheckpointError
from gradus.text.encoder import Encoder, LibraryEncoder, TableEncoder
from gradus.text.tokenizer import Tokenizer
from gradus.text.tokenizer_cache import find_encoder, keep_vocabulary, vocabulary_key
from gradus.text.vocabulary import take_apart

if TYPE_CHECKING:
    from tokenizers import Tokenizer as LibraryTokenizer

CACHED_BYTES = 1 << 20  # a tokenizer.json from this size on is cached; smaller ones are read as fast
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA_SPECIAL_TOKENS = ("additional_special_tokens", "extra_special_tokens")


def load_tokenizer(path: str | Path, cache: DiskCache | None = None) -> Tokenizer:
    """The tokenizer of a checkpoint directory; its vocabulary is read at first use.

    cache: where large vocabularies are kept; None: nowhere.

    Raises:
        CheckpointError: a file is missing or broken.
    """
    directory = Path(path)
    vocabulary = directory / "tokenizer.json"
    if not vocabulary.is_file():
        raise CheckpointError(
            f"{directory} has no tokenizer.json; Gradus reads tokenizers from that file alone. "
            "Loading and saving the model once with transformers' AutoTokenizer writes it"
        )
    config = _read_json(directory / "special_tokens_map.json")
    config |= _read_json(directory / "tokenizer_config.json")
    special_tokens = _special_token_strings(config)

    def read() -> Encoder:
        encoder = _read_encoder(vocabulary, cache)
        # A token that the configuration calls special is left out of text even where tokenizer.json does not
        # say so.
        encoder.mark_special([*special_tokens.values(), *_extra_special_tokens(config)])
        return encoder

    return Tokenizer(read, special_tokens, _find_chat_template(directory, config))


def _read_encoder(path: Path, cache: DiskCache | None) -> Encoder:
    """Tables from the cache; where there are none, what the library reads."""
    if cache is None or path.stat().st_size < CACHED_BYTES:
        return LibraryEncoder(_read_library(_read_text(path), path))
    key = vocabulary_key(path)
    found = find_encoder(cache, key)
    if found is not None:
        return found
    text = _read_text(path)
    library = _read_library(text, path)
    vocabulary = take_apart(text, library)
    if vocabulary is None:
        return LibraryEncoder(library)
    keep_vocabulary(cache, key, vocabulary)
    return TableEncoder(vocabulary)


def _read_library(text: str, path: Path) -> "LibraryTokenizer":
    from tokenizers import Tokenizer as LibraryTokenizer

    try:
        return LibraryTokenizer.from_str(text)
    except Exception as error:  # the library raises bare Exception
        raise CheckpointError(f"{path} is not a tokenizer that can be read: {error}") from error


def _token_string(value: Any) -> str | None:
    """A token is written as a string or as an object with its `content`."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _special_token_strings(config: dict[str, Any]) -> dict[str, str]:
    tokens = {name: _token_string(config.get(name)) for name in _SPECIAL_TOKENS}
    return {name: token for name, token in tokens.items() if token}


def _extra_special_tokens(config: dict[str, Any]) -> list[str]:
    found: list[str | None] = []
    for name in _EXTRA_SPECIAL_TOKENS:
        values = config.get(name) or []
        found += map(_token_string, values.values() if isinstance(values, dict) else values)
    added = (config.get("added_tokens_decoder") or {}).values()
    found += [_token_string(token) for token in added if isinstance(token, dict) and token.get("special")]
    return [token for token in found if token]


def _find_chat_template(directory: Path, config: dict[str, Any]) -> str | None:
    """A file of its own comes before the entry in the configuration, as in transformers."""
    file = directory / "chat_template.jinja"
    if file.is_file():
        return _read_text(file)
    processor = _read_json(directory / "chat_template.json")
    template = processor.get("chat_template") or config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    if template is not None and not isinstance(template, str):
        raise CheckpointError(f"the chat template in {directory} is {type(template).__name__}, not text")
    return template


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(_read_text(path))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a {type(value).__name__}, not an object")
    return value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
