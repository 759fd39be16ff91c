"""Writes a byte-level BPE tokenizer in the size and shape of published ones, without training, for timing.

    python tools/make_large_tokenizer.py DIRECTORY [--entries 151936]

Words are drawn from letter frequencies, Chinese and Cyrillic characters and punctuation, and joined pair by
pair; every pair that is met for the first time becomes a token and a merge. Each run writes the same. In
DIRECTORY they may take the place of another model's tokenizer whose vocabulary is as large.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradus.text.pieces import byte_alphabet

NUM_ADDED = 293
LETTERS, COUNTS = "etaoinshrdlucmfwypvbgkjqxz", (120, 90, 80, 75, 70, 67, 63, 61, 60, 42, 40, 28, 28, 24, 24)
PUNCTUATION = "()[]{};:=<>/\\\"'#*_-+.,\n\t "
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def words(source: random.Random) -> Iterator[str]:
    weights = COUNTS + (15,) * (len(LETTERS) - len(COUNTS))
    while True:
        kind = source.random()
        if kind < 0.72:
            word = "".join(source.choices(LETTERS, weights, k=source.randint(2, 11)))
            yield source.choice((word, " " + word, " " + word.capitalize()))
        elif kind < 0.9:
            yield "".join(chr(source.randint(0x4E00, 0x9FA5)) for _ in range(source.randint(1, 4)))
        elif kind < 0.95:
            yield " " + "".join(chr(source.randint(0x410, 0x44F)) for _ in range(source.randint(2, 8)))
        else:
            yield "".join(source.choices(PUNCTUATION, k=source.randint(2, 6)))


def merges(num_tokens: int) -> tuple[dict[str, int], list[list[str]]]:
    source = random.Random(7)
    char_of_byte = {byte: char for char, byte in byte_alphabet().items()}
    vocab = {char: token_id for token_id, char in enumerate(char_of_byte.values())}
    merged: list[list[str]] = []
    for word in words(source):
        parts = [char_of_byte[byte] for byte in word.encode()]
        while len(parts) > 1:
            i = source.randrange(len(parts) - 1)
            token = parts[i] + parts[i + 1]
            if token not in vocab:
                vocab[token] = len(vocab)
                merged.append(parts[i : i + 2])
            if len(vocab) == num_tokens:
                return vocab, merged
            parts[i : i + 2] = [token]
    raise AssertionError("words do not end")


def tokenizer(num_entries: int) -> dict[str, Any]:
    vocab, merged = merges(num_entries - NUM_ADDED)
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(NUM_ADDED - 3))]
    rules = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": len(vocab) + i, "content": name, **rules} for i, name in enumerate(names)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merged},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--entries", type=int, default=151_936)
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    built = json.dumps(tokenizer(args.entries), ensure_ascii=False, indent=2)
    (args.directory / "tokenizer.json").write_text(built, encoding="utf-8")
    config = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    (args.directory / "tokenizer_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
