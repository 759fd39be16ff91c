"""`SamplingParams`: how one request's tokens are chosen, validated once for every front end.

Names and defaults follow vLLM's class of the same name. Knows nothing of models: limits that depend on
one (the context, the vocabulary) are checked where the request meets it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradus.parameter_checks import (
    Check,
    boolean,
    integer,
    invalid,
    number,
    some_token_ids,
    strings,
    token_biases,
    token_ids,
)
from gradus.structured_outputs import StructuredOutputsParams

MAX_N = 128
MAX_LOGPROBS = 20
MAX_STOP_STRINGS = 32
MAX_STOP_STRING_CHARS = 1024
MAX_STOP_TOKEN_IDS = 256
MAX_BAD_WORDS = 256
MAX_BAD_WORD_CHARS = 256
MAX_LOGIT_BIASES = 1024
MAX_LOGIT_BIAS = 100.0
MAX_ALLOWED_TOKEN_IDS = 2**18
MAX_REPETITION_PENALTY = 100.0
MAX_SEED = 2**63 - 1


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """How to sample. Every assignment is checked, so that an object of this class is always valid.

    What changes the logits does so in this order: `structured_outputs` and `allowed_token_ids`, `bad_words`,
    `min_tokens`, `logit_bias`, `repetition_penalty`, `frequency_penalty`, `presence_penalty`, `temperature`,
    `min_p`, `top_k`, `top_p`. Reported log probabilities are those of the model's own logits, before all
    of it.

    Attributes:
        n: number of independent completions, 1 to 128.
        temperature: 0 is greedy; up to 100 otherwise.
        top_p: smallest set of tokens whose probability reaches it, in (0, 1].
        top_k: only the k likeliest tokens; 0 or -1 switch it off.
        min_p: only tokens at least so likely as this times the likeliest, in [0, 1]; 0 switches it off.
        seed: makes sampling reproducible, -(2**63) to 2**63 - 1; None draws one per request.
        max_tokens: at most this many tokens are generated; None means up to the end of the context.
        min_tokens: end-of-sequence tokens and `stop_token_ids` cannot be generated, and `stop` is not looked
            for, before so many tokens have been; at most `max_tokens`.
        stop: strings that end the text; they are not part of it, unless `include_stop_str_in_output`.
        stop_token_ids: token ids that end the completion.
        ignore_eos: go on after an end-of-sequence token.
        include_stop_str_in_output: the text ends with the stop string, or with the stop token's text.
        logprobs: how many of the likeliest tokens to report at each position besides the sampled one,
            0 to 20; None reports nothing.
        prompt_logprobs: the same for each token of the prompt but the first.
        presence_penalty: subtracted from the logits of tokens that have been generated, -2 to 2.
        frequency_penalty: subtracted once for each time that a token has been generated, -2 to 2.
        repetition_penalty: divides the positive and multiplies the negative logits of tokens that are in the
            prompt or have been generated, above 0 to 100; 1 switches it off.
        logit_bias: token id -> what is added to its logit, -100 to 100.
        allowed_token_ids: no other tokens are generated; None allows all.
        bad_words: texts that are not generated: the last token of one is forbidden where it would complete
            it.
        structured_outputs: the form that the text must have, such as a JSON Schema; see
            `StructuredOutputsParams`.
        thinking_token_budget: after so many tokens of reasoning the one that ends it, `</think>`, is forced;
            None lets the model think as long as it likes.
        skip_special_tokens: leave special tokens out of the text.
        spaces_between_special_tokens: tokenizers whose text is their tokens' bytes, which are nearly all, put
            no spaces there, so that both values mean the same; others work with True alone.

    Raises:
        InvalidRequestError: names the field, its value and the range.
    """

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    max_tokens: int | None = 16
    min_tokens: int = 0
    stop: str | Sequence[str] | None = ()
    stop_token_ids: Sequence[int] | None = ()
    ignore_eos: bool = False
    include_stop_str_in_output: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_words: Sequence[str] | None = ()
    structured_outputs: StructuredOutputsParams | None = None
    thinking_token_budget: int | None = None
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        # Slots and an own __setattr__ keep `super()` from knowing the class; `object` is its base.
        object.__setattr__(self, name, _CHECKS[name](name, value) if name in _CHECKS else value)

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0


def _form(field: str, value: Any) -> StructuredOutputsParams | None:
    if value is not None and not isinstance(value, StructuredOutputsParams):
        raise invalid(field, value, "must be a StructuredOutputsParams or None")
    return value


_CHECKS: dict[str, Check] = {
    "n": integer(1, MAX_N),
    "temperature": number(0.0, 100.0),
    "top_p": number(0.0, 1.0, open_low=True),
    "top_k": integer(-1, 2**31 - 1),
    "min_p": number(0.0, 1.0),
    "seed": integer(-MAX_SEED - 1, MAX_SEED, optional=True),
    "max_tokens": integer(1, 2**31 - 1, optional=True),
    "min_tokens": integer(0, 2**31 - 1),
    "stop": strings(MAX_STOP_STRINGS, MAX_STOP_STRING_CHARS),
    "stop_token_ids": token_ids(MAX_STOP_TOKEN_IDS),
    "ignore_eos": boolean,
    "include_stop_str_in_output": boolean,
    "logprobs": integer(0, MAX_LOGPROBS, optional=True),
    "prompt_logprobs": integer(0, MAX_LOGPROBS, optional=True),
    "presence_penalty": number(-2.0, 2.0),
    "frequency_penalty": number(-2.0, 2.0),
    "repetition_penalty": number(0.0, MAX_REPETITION_PENALTY, open_low=True),
    "logit_bias": token_biases(MAX_LOGIT_BIASES, MAX_LOGIT_BIAS),
    "allowed_token_ids": some_token_ids(MAX_ALLOWED_TOKEN_IDS),
    "bad_words": strings(MAX_BAD_WORDS, MAX_BAD_WORD_CHARS),
    "structured_outputs": _form,
    "thinking_token_budget": integer(0, 2**31 - 1, optional=True),
    "skip_special_tokens": boolean,
    "spaces_between_special_tokens": boolean,
}
