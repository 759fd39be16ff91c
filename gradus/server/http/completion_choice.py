"""One choice of a text completion as the client sees it: the echoed prompt first, then what was generated."""

from typing import Any

from gradus.outputs import CompletionOutput
from gradus.server.http.logprobs import CompletionLogprobs, Shown, joined
from gradus.server.http.protocol_completions import CompletionRequest
from gradus.text.output_processor import ChoiceDelta, RequestState
from gradus.text.tokenizer import Tokenizer


class ShownChoice:
    """Takes a choice piece by piece, or whole as one piece."""

    def __init__(
        self,
        completion: CompletionRequest,
        index: int,
        prompt: str | list[int],
        state: RequestState,
        tokenizer: Tokenizer,
    ) -> None:
        """`state` is that of the choice's request; it knows about the prompt when a piece comes."""
        self._completion = completion
        self._index = index
        self._prompt = prompt
        self._state = state
        self._tokenizer = tokenizer
        self._logprobs = CompletionLogprobs(tokenizer, completion.skip_special_tokens)
        self._has_begun = False

    def take(self, piece: ChoiceDelta | CompletionOutput) -> dict[str, Any] | None:
        """The entry of `choices` for a piece; None where there is nothing to say yet."""
        counts = self._completion.counts_continuously and piece.token_ids
        if not (piece.text or piece.logprobs or counts or piece.finish_reason is not None):
            return None
        echo, about_prompt = self._take_echo()
        text, logprobs, reason, stop_reason = piece.text, None, piece.finish_reason, piece.stop_reason
        if self._completion.only_echoes:
            text, reason, stop_reason = "", "length", None
        elif self._completion.logprobs is not None:
            logprobs = self._logprobs.take(piece.token_ids, piece.logprobs)
        choice = {
            "index": self._index,
            "text": echo + text,
            "logprobs": joined(about_prompt, logprobs),
            "finish_reason": reason,
        }
        return choice if reason is None else choice | {"stop_reason": stop_reason}

    def _take_echo(self) -> tuple[str, Shown]:
        """The prompt's text and logprobs, once and where they are asked for."""
        if self._has_begun or not self._completion.echo:
            return "", None
        self._has_begun = True
        text, token_ids = self._prompt, self._state.prompt_token_ids
        if not isinstance(text, str):
            text = self._tokenizer.decode(token_ids, self._completion.skip_special_tokens)
        if self._completion.logprobs is None:
            return text, None
        return text, self._logprobs.take_prompt(token_ids, self._state.prompt_logprobs, text)
