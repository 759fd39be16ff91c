"""Whether a request can ever be served, decided once, before it touches the scheduler.

Knows the limits of the model and of the KV cache. Reads nothing that changes, so any thread may ask.
"""

from array import array
from dataclasses import dataclass

from gradus.errors import ContextOverflowError, InvalidRequestError, context_overflow, counted
from gradus.messages import EngineRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionLimits:
    """Attributes: the longest sequence in tokens, the vocabulary's size, and the KV cache's blocks."""

    max_model_len: int
    vocab_size: int
    num_blocks: int
    block_size: int

    def check(self, request: EngineRequest) -> list[int]:
        """The prompt as plain integers.

        Raises:
            InvalidRequestError: the prompt is empty or has ids that the model does not know.
            ContextOverflowError: prompt and output do not fit into the context or into the KV cache.
        """
        prompt = self._check_token_ids(request)
        if request.max_tokens < 1 and request.pooling is None:
            raise InvalidRequestError(
                f"max_tokens is {request.max_tokens}; it must be 1 or more", param="max_tokens"
            )
        if len(prompt) + request.max_tokens > self.max_model_len:
            raise context_overflow(len(prompt), request.max_tokens, self.max_model_len)
        if -(-(len(prompt) + request.max_tokens) // self.block_size) > self.num_blocks:
            raise self._kv_overflow(len(prompt), request.max_tokens)
        return prompt

    def _kv_overflow(self, num_prompt: int, max_tokens: int) -> ContextOverflowError:
        """The error for a request that would need more blocks than there are, even if it ran alone."""
        capacity = self.num_blocks * self.block_size
        remedy = f"Shorten the prompt to {counted(capacity - 1, 'token')} or fewer."
        if num_prompt < capacity:
            remedy = f"Lower max_tokens to {capacity - num_prompt:,} or shorten the prompt."
        return ContextOverflowError(
            f"the prompt has {counted(num_prompt, 'token')} and max_tokens is {max_tokens:,}, together "
            f"{num_prompt + max_tokens:,}; the KV cache holds {capacity:,} "
            f"({counted(self.num_blocks, 'block')} of {self.block_size}). {remedy}",
            param="max_tokens" if num_prompt < capacity else "prompt",
        )

    def _check_token_ids(self, request: EngineRequest) -> list[int]:
        if not len(request.prompt_token_ids):
            raise InvalidRequestError("the prompt is empty; it must have at least one token", param="prompt")
        try:
            prompt = array("q", request.prompt_token_ids).tolist()
        except (TypeError, OverflowError) as error:
            message = f"the prompt is not a list of token ids: {error}"
            raise InvalidRequestError(message, param="prompt") from None
        wrong = min(prompt) if min(prompt) < 0 else max(prompt)
        if not 0 <= wrong < self.vocab_size:
            raise InvalidRequestError(
                f"the prompt has token id {wrong}; ids are 0 to {self.vocab_size - 1}", param="prompt"
            )
        return prompt
