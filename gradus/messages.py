"""What passes between the front ends and the engine: `EngineRequest` in, `RequestUpdate` out.

Both speak token ids only. A front end turns text into the first and the second into text.
"""

from dataclasses import dataclass, field
from typing import Literal

from gradus.constraints import Grammar
from gradus.outputs import FinishReason, RequestMetrics
from gradus.sampling_params import SamplingParams

Pooling = Literal["last", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingBudget:
    """How long a choice may think before it answers; then the token that ends it is forced.

    Attributes:
        num_tokens: at most so many, the two marks not counted.
        is_open: the prompt ends with the opening mark; otherwise a choice thinks if its first token is that.
    """

    num_tokens: int
    opening_id: int
    closing_id: int
    is_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A validated request.

    Attributes:
        request_id: unique among the requests in flight.
        prompt_token_ids: at least one, each below the vocabulary's size.
        max_tokens: resolved: 1 to (context - prompt length); 0 where `pooling` is set.
        eos_token_ids: ids that end a choice with reason "stop"; empty where `ignore_eos` is set.
        delayed_token_ids: ids that cannot be generated before `params.min_tokens` tokens have been.
        bad_words: the token ids of `params.bad_words`, in every form that is forbidden.
        grammar: what the output must be; None lets it be anything.
        thinking: how long each choice may think; None: as long as it likes.
        pooling: give an embedding and no tokens: the hidden state of the prompt's last token, or the mean of
            all of them.
        seed: resolved, so that a request can be run again.
        priority: lower runs earlier under the priority policy.
        cache_salt: only requests with the same one share KV through the prefix cache.
    """

    request_id: str
    prompt_token_ids: list[int]
    params: SamplingParams
    max_tokens: int
    eos_token_ids: frozenset[int] = frozenset()
    delayed_token_ids: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()
    grammar: Grammar | None = None
    thinking: ThinkingBudget | None = None
    pooling: Pooling | None = None
    seed: int = 0
    priority: int = 0
    cache_salt: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probabilities at one position, of the token there and of the likeliest ones.

    `top` holds (token id, logprob) pairs, likeliest first, as many as the request asked for.
    """

    logprob: float
    rank: int
    top: list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class AboutPrompt:
    """What a request wanted to know about its prompt: either logprobs, or an embedding.

    `logprobs` are those of the prompt's tokens from the second on.
    """

    logprobs: list[TokenLogprobs] | None = None
    embedding: list[float] | None = None


@dataclass(slots=True, kw_only=True)
class RequestUpdate:
    """What one step gave one choice of one request.

    The last update of a choice, and only that one, has a `finish_reason`; if it is "error", `error` says why.
    """

    request_id: str
    choice_index: int
    new_token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None  # one per new token, where asked for
    about_prompt: AboutPrompt | None = None  # once, where asked for: with the first token or the embedding
    finish_reason: FinishReason | None = None
    has_end_token: bool = True  # with reason "stop": the last token ended it and is not part of its text
    stop_reason: int | None = None  # the stop token id that ended it, unless it is an end-of-sequence id
    error: str | None = None
    metrics: RequestMetrics = field(default_factory=RequestMetrics)
