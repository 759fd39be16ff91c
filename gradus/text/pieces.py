"""What bytes a token stands for, where a tokenizer's decoder lets every token be turned into bytes alone.

Two families cover nearly all language models: byte-level BPE (GPT-2's printable alphabet for the 256 bytes)
and SentencePiece ("▁" for a space, "<0xE4>" for a single byte). For both, the text of a sequence is the
concatenation of its tokens' bytes read as UTF-8, which makes detokenizing exact and constant-time per token.
Any other decoder has no `Pieces`; the detokenizer then works on a window of the sequence.

Formats: the `decoder` object of a `tokenizer.json`, as the `tokenizers` library reads it.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Pieces:
    """Token id -> bytes, computed once per token.

    `num_leading_spaces` spaces at the start of a text are an artefact of the encoding and not part of it.
    """

    def __init__(
        self,
        id_to_token: Callable[[int], str | None],
        to_bytes: Callable[[str], bytes],
        num_leading_spaces: int = 0,
    ) -> None:
        self._id_to_token = id_to_token
        self._to_bytes = to_bytes
        self._cache: dict[int, bytes] = {}
        self.num_leading_spaces = num_leading_spaces

    def __getitem__(self, token_id: int) -> bytes:
        """The token's bytes; empty for an id that the tokenizer does not know."""
        piece = self._cache.get(token_id)
        if piece is None:
            token = self._id_to_token(token_id)
            piece = self._cache[token_id] = b"" if token is None else self._to_bytes(token)
        return piece

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of a whole sequence; bytes that are no UTF-8 become U+FFFD."""
        text = b"".join([self[token_id] for token_id in token_ids]).decode("utf-8", "replace")
        spaces = len(text) - len(text.lstrip(" "))
        return text[min(spaces, self.num_leading_spaces) :]


def make_pieces(decoder: dict[str, Any] | None, id_to_token: Callable[[int], str | None]) -> Pieces | None:
    """The byte view of a tokenizer with this `decoder`; None where tokens cannot be decoded one by one."""
    steps = _steps(decoder)
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"]:
        return Pieces(id_to_token, _byte_level_bytes)
    if kinds == ["Metaspace"]:
        mark = steps[0].get("replacement", "▁")
        stripped = int(steps[0].get("prepend_scheme", "always") != "never")
        return Pieces(id_to_token, lambda token: token.replace(mark, " ").encode(), stripped)
    if "ByteFallback" in kinds and set(kinds) <= {"Replace", "ByteFallback", "Fuse", "Strip"}:
        return _sentencepiece_pieces(steps, id_to_token)
    return None


def _steps(decoder: dict[str, Any] | None) -> list[dict[str, Any]]:
    if not decoder:
        return []
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]


def _sentencepiece_pieces(
    steps: list[dict[str, Any]], id_to_token: Callable[[int], str | None]
) -> Pieces | None:
    replacements: list[tuple[str, str]] = []
    num_leading_spaces = 0
    fused = False
    for step in steps:
        if step["type"] == "Replace":
            if "String" not in step["pattern"] or fused:
                return None
            replacements.append((step["pattern"]["String"], step["content"]))
        elif step["type"] == "Strip":
            if step["content"] != " " or step["stop"] != 0 or not fused:
                return None
            num_leading_spaces = step["start"]
        fused = fused or step["type"] == "Fuse"

    def to_bytes(token: str) -> bytes:
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        for old, new in replacements:
            token = token.replace(old, new)
        return token.encode()

    return Pieces(id_to_token, to_bytes, num_leading_spaces)


def byte_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself where printable in Latin-1, else U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF_CHAR = byte_alphabet()


def _byte_level_bytes(token: str) -> bytes:
    try:
        return bytes([_BYTE_OF_CHAR[char] for char in token])
    except KeyError:
        return token.encode()  # an added token that is not written in the alphabet: it stands for itself
