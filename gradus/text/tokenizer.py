"""`Tokenizer`: text to token ids and back, over a Hugging Face `tokenizer.json` and its configuration.

Knows files and text. Knows nothing of a model's vocabulary size, which may be larger than the tokenizer's:
ids that it has never heard of decode to nothing.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from gradus.errors import CheckpointError, InvalidRequestError
from gradus.text.pieces import Pieces, make_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer as FastTokenizer

_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_EXTRA_SPECIAL_TOKENS = ("additional_special_tokens", "extra_special_tokens")


class Tokenizer:
    """One model's tokenizer.

    The vocabulary is read at first use: half a second for 150,000 tokens. `start_loading()` does it in a
    thread, while weights are read; `load()` waits for it and says if it failed. Safe to use from several
    threads.
    """

    def __init__(
        self,
        read: Callable[[], str],
        config: dict[str, Any] | None = None,
        chat_template: str | None = None,
        origin: str = "the tokenizer",
    ) -> None:
        """`read` returns the text of a `tokenizer.json`; `origin` names it in errors."""
        self._read = read
        self._config = config or {}
        self._lock = Lock()
        self._loaded: FastTokenizer | None = None
        self._origin = origin
        self.chat_template = chat_template
        self.special_tokens = _special_token_strings(self._config)

    @classmethod
    def from_directory(cls, path: str | Path) -> "Tokenizer":
        """The tokenizer of a checkpoint directory.

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
        template = _find_chat_template(directory, config)
        return cls(lambda: _read_text(vocabulary), config, template, origin=str(vocabulary))

    def start_loading(self) -> None:
        """Read the vocabulary in a thread; what goes wrong there is for `load()` to say."""

        def read() -> None:
            with suppress(CheckpointError):
                self.load()

        Thread(target=read, name="gradus-tokenizer", daemon=True).start()

    def load(self) -> None:
        """Have the vocabulary read.

        Raises:
            CheckpointError: it is broken.
        """
        _ = self._pieces

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of `text`; names of special tokens in the text become those tokens.

        `add_special_tokens` adds what the post-processor of `tokenizer.json` says, such as a
        beginning-of-sequence token; `add_bos_token` of the configuration has no say, as in transformers.

        Raises:
            InvalidRequestError: the text has an unpaired surrogate, which no encoding of Unicode can carry.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequestError(
                f"the text has an unpaired surrogate, U+{ord(text[error.start]):04X}, at index {error.start}"
            ) from None
        # The batch call skips the offsets, which nobody reads, and lets other Python threads run meanwhile.
        return self._fast.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    def decode(self, token_ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of a whole sequence; bytes that are no UTF-8 become U+FFFD."""
        if skip_special_tokens:
            special = self.special_ids
            token_ids = [token_id for token_id in token_ids if token_id not in special]
        if self._pieces is None:
            return self._fast.decode(self._known(token_ids), skip_special_tokens=False)
        pieces = self._pieces
        text = b"".join([pieces[token_id] for token_id in token_ids]).decode("utf-8", "replace")
        return strip_leading_spaces(text, pieces.num_leading_spaces)

    def token_text(self, token_id: int) -> str:
        """One token alone, special or not, as text to show."""
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """One token alone, special or not: part of a character where the token is one."""
        if self._pieces is not None:
            return self._pieces[token_id]
        return self._fast.decode(self._known([token_id]), skip_special_tokens=False).encode()

    def token_id(self, token: str) -> int | None:
        """The id of a token by its name in the vocabulary."""
        return self._fast.token_to_id(token)

    @property
    def pieces(self) -> Pieces | None:
        """The byte view of the vocabulary, where there is one."""
        return self._pieces

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest id that the tokenizer knows."""
        added = self._fast.get_added_tokens_decoder()
        return max(self._fast.get_vocab_size(with_added_tokens=True), max(added, default=-1) + 1)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that are left out of text."""
        added = self._fast.get_added_tokens_decoder()
        return frozenset(token_id for token_id, token in added.items() if token.special)

    @property
    def bos_token_id(self) -> int | None:
        return self._special_id("bos_token")

    @property
    def eos_token_id(self) -> int | None:
        return self._special_id("eos_token")

    @property
    def pad_token_id(self) -> int | None:
        return self._special_id("pad_token")

    @property
    def has_chat_template(self) -> bool:
        return self.chat_template is not None

    def _special_id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self._fast.token_to_id(token)

    def _known(self, token_ids: Iterable[int]) -> list[int]:
        size = self.vocab_size
        return [token_id for token_id in token_ids if 0 <= token_id < size]

    @property
    def _fast(self) -> "FastTokenizer":
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._build()
        return self._loaded

    def _build(self) -> "FastTokenizer":
        from tokenizers import AddedToken
        from tokenizers import Tokenizer as FastTokenizer

        try:
            fast = FastTokenizer.from_str(self._read())
        except CheckpointError:
            raise
        except Exception as error:  # the library raises bare Exception
            raise CheckpointError(f"{self._origin} is not a tokenizer that can be read: {error}") from error
        fast.no_truncation()
        fast.no_padding()
        named = [*self.special_tokens.values(), *_extra_special_tokens(self._config)]
        marked = {token.content for token in fast.get_added_tokens_decoder().values() if token.special}
        # A token that the configuration calls special is left out of text even where tokenizer.json does not
        # say so. Names outside the vocabulary stay out: the model has no row for them.
        missing = [token for token in named if token not in marked and fast.token_to_id(token) is not None]
        fast.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in missing])
        return fast

    @cached_property
    def _pieces(self) -> Pieces | None:
        fast = self._fast
        decoder = None if fast.decoder is None else json.loads(fast.decoder.__getstate__())

        def id_to_token(token_id: int) -> str | None:
            return fast.id_to_token(token_id) if 0 <= token_id < 2**32 else None

        return make_pieces(decoder, id_to_token)


def strip_leading_spaces(text: str, most: int) -> str:
    """Drop up to `most` spaces at the start."""
    spaces = len(text) - len(text.lstrip(" "))
    return text[min(spaces, most) :]


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
