"""Logprobs as OpenAI's two endpoints show them."""

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

from gradus.outputs import Logprob
from gradus.text.tokenizer import Tokenizer

_LOWEST = -9999.0  # JSON has no infinity

Positions = Sequence[Mapping[int, Logprob]]
PromptPositions = Sequence[Mapping[int, Logprob] | None]
Shown = dict[str, Any] | None


def chat_logprobs(positions: Positions | None, num_top: int, tokenizer: Tokenizer) -> dict[str, Any] | None:
    """`choices[].logprobs` of a chat completion; the sampled token is the first of its position."""
    if positions is None:
        return None
    content = []
    for position in positions:
        entries = [_chat_entry(token_id, entry, tokenizer) for token_id, entry in position.items()]
        likeliest = sorted(zip(position.values(), entries, strict=True), key=lambda pair: pair[0].rank)
        content.append({**entries[0], "top_logprobs": [entry for _, entry in likeliest[:num_top]]})
    return {"content": content, "refusal": None}


def _chat_entry(token_id: int, entry: Logprob, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "token": entry.decoded_token,
        "logprob": max(entry.logprob, _LOWEST),
        "bytes": list(tokenizer.token_bytes(token_id)),
    }


def prompt_logprobs(positions: PromptPositions | None) -> dict[str, Any]:
    """The field `prompt_logprobs` in vLLM's shape, if it was asked for; the first token has none."""
    if positions is None:
        return {}
    return {"prompt_logprobs": [position and _by_id(position) for position in positions]}


def _by_id(position: Mapping[int, Logprob]) -> dict[str, Any]:
    return {
        str(token_id): {
            "logprob": max(entry.logprob, _LOWEST),
            "rank": entry.rank,
            "decoded_token": entry.decoded_token,
        }
        for token_id, entry in position.items()
    }


class CompletionLogprobs:
    """`choices[].logprobs` of a text completion, for one choice as it grows.

    `text_offset` counts characters from the start of the choice's text, of which special tokens may be part.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = True) -> None:
        self._tokenizer = tokenizer
        self._without_text = tokenizer.special_ids if skip_special_tokens else frozenset()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def take_prompt(self, token_ids: Sequence[int], positions: PromptPositions | None, text: str) -> Shown:
        """Those of the echoed prompt `text`, whose first token has none. Of special tokens it has those that
        the client wrote."""
        if positions is None:
            return None
        shown = _nothing_shown()
        for token_id, position in zip(token_ids, positions, strict=True):
            name = self._name(token_id)
            is_shown = token_id not in self._without_text or text.startswith(name, self._offset)
            self._add(shown, token_id, position, is_shown)
        return shown

    def take(self, token_ids: Sequence[int], positions: Positions | None) -> Shown:
        """Those of more generated tokens."""
        if positions is None:
            return None
        shown = _nothing_shown()
        for token_id, position in zip(token_ids, positions, strict=True):
            self._add(shown, token_id, position, token_id not in self._without_text)
        return shown

    def _add(
        self, shown: dict[str, Any], token_id: int, position: Mapping[int, Logprob] | None, has_text: bool
    ) -> None:
        top = None
        if position is not None:
            top = {self._name(i): max(entry.logprob, _LOWEST) for i, entry in position.items()}
        shown["tokens"].append(self._name(token_id))
        shown["token_logprobs"].append(position and max(position[token_id].logprob, _LOWEST))
        shown["top_logprobs"].append(top)
        shown["text_offset"].append(self._offset)
        if has_text:
            self._offset += len(self._decoder.decode(self._tokenizer.token_bytes(token_id)))

    def _name(self, token_id: int) -> str:
        """The token's text; the bytes of a token that is part of a character, which keeps names apart."""
        raw = self._tokenizer.token_bytes(token_id)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


def _nothing_shown() -> dict[str, Any]:
    return {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}


def joined(first: Shown, second: Shown) -> Shown:
    """A completion's logprobs in one piece."""
    if first is None or second is None:
        return first or second
    return {name: [*first[name], *second[name]] for name in first}
