"""`Tokenizer`: text to token ids and back, and the roles that special tokens have.

Knows text. Knows nothing of files, nor of a model's vocabulary size, which may be larger than the
tokenizer's: ids that it has never heard of decode to nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from threading import Lock, Thread

from gradus.errors import CheckpointError, InvalidRequestError
from gradus.text.encoder import Encoder
from gradus.text.pieces import Pieces


class Tokenizer:
    """One model's tokenizer.

    The vocabulary is read at first use. `start_loading()` does it in a thread, while weights are read;
    `load()` waits for it and says if it failed. Safe to use from several threads.
    """

    def __init__(
        self,
        read: Callable[[], Encoder],
        special_tokens: Mapping[str, str] | None = None,
        chat_template: str | None = None,
    ) -> None:
        """
        read: gives the vocabulary; raises CheckpointError if it is broken.
        special_tokens: by their role, such as "bos_token".
        """
        self._read = read
        self._lock = Lock()
        self._loaded: Encoder | None = None
        self.chat_template = chat_template
        self.special_tokens = dict(special_tokens or {})

    def over(self, change: Callable[[Encoder], Encoder]) -> "Tokenizer":
        """The same roles and chat template over a vocabulary that is made of this one's at first use."""
        return Tokenizer(lambda: change(self._encoder), self.special_tokens, self.chat_template)

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
        _ = self._encoder

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
        return self._encoder.encode(text, add_special_tokens)

    def decode(self, token_ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """The text of a whole sequence; bytes that are no UTF-8 become U+FFFD."""
        if skip_special_tokens:
            special = self.special_ids
            token_ids = [token_id for token_id in token_ids if token_id not in special]
        return self._encoder.decode(token_ids)

    def token_text(self, token_id: int) -> str:
        """One token alone, special or not, as text to show."""
        return self.token_bytes(token_id).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """One token alone, special or not: part of a character where the token is one."""
        pieces = self.pieces
        return self._encoder.decode([token_id]).encode() if pieces is None else pieces[token_id]

    def token_id(self, token: str) -> int | None:
        """The id of a token by its name in the vocabulary."""
        return self._encoder.token_id(token)

    @property
    def pieces(self) -> Pieces | None:
        """The byte view of the vocabulary, where there is one."""
        return self._encoder.pieces

    @cached_property
    def vocab_size(self) -> int:
        """One more than the highest id that the tokenizer knows."""
        return self._encoder.size

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids that are left out of text."""
        return self._encoder.special_ids

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
        return None if token is None else self._encoder.token_id(token)

    @property
    def _encoder(self) -> Encoder:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._read()
        return self._loaded
