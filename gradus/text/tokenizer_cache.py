"""Vocabularies kept on disk: taken apart once, mapped at every later start.

An entry belongs to one file, by its path, and is of use as long as the file's size, time and beginning are
what they were. Its checksums are verified whenever it is opened: the tables are small, and a damaged one
would quietly give other tokens. Knows the disk cache; nothing of where vocabularies come from.
"""

import hashlib
import json
import logging
from pathlib import Path

from gradus.disk_cache.entry import DamagedEntryError, Entry
from gradus.disk_cache.store import DiskCache, EntryKey
from gradus.text.encoder import TableEncoder
from gradus.text.vocabulary import Vocabulary

logger = logging.getLogger("gradus")

_VERSION = 1  # of the tables and of the rules by which they are made
_HEADER_BYTES = 64 << 10
_SECTIONS = ("front", "texts", "ends", "merges", "whole_words")


def vocabulary_key(path: Path, header: bytes | None = None) -> EntryKey:
    """The key of the vocabulary in a file; `header` is what of the file is hashed, else its beginning.

    Raises:
        OSError: the file cannot be read.
    """
    path = path.resolve()
    status = path.stat()
    if header is None:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    state = {
        "version": _VERSION,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "header_sha256": hashlib.sha256(header).hexdigest(),
    }
    name = path.stem if path.suffix == ".gguf" else path.parent.name
    return EntryKey("tokenizer", name, {"path": str(path)}, state)


def find_encoder(cache: DiskCache, key: EntryKey) -> TableEncoder | None:
    """The encoder of the vocabulary of `key`; None where that has to be made."""
    entry = cache.find(key)
    if entry is None:
        return None
    try:
        entry.verify()
        return TableEncoder(_read(entry))
    except (DamagedEntryError, ValueError, TypeError, KeyError) as error:
        logger.warning("the cached tokenizer %s is damaged and is made anew: %s", entry.path, error)
        return None


def keep_vocabulary(cache: DiskCache, key: EntryKey, vocabulary: Vocabulary) -> None:
    """Have the next `find_encoder` find it, unless the disk refuses."""
    with cache.create(key) as writer:
        writer.add("front", vocabulary.front.encode())
        writer.add("texts", vocabulary.texts)
        writer.add("ends", vocabulary.ends)
        writer.add("merges", vocabulary.merges)
        writer.add("whole_words", json.dumps(vocabulary.whole_words).encode())


def _read(entry: Entry) -> Vocabulary:
    front, texts, ends, merges, whole_words = map(entry.data, _SECTIONS)
    return Vocabulary(
        front=bytes(front).decode(),
        texts=texts,
        ends=ends,
        merges=merges,
        whole_words=tuple((tuple(word), token_id) for word, token_id in json.loads(bytes(whole_words))),
    )
