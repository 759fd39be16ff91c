"""What passes between the front ends and the engine: `EngineRequest` in, `RequestUpdate` out.

Both speak token ids only. A front end turns text into the first and the second into text.
"""

from dataclasses import dataclass, field

from gradus.outputs import FinishReason, RequestMetrics
from gradus.sampling_params import SamplingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A validated request.

    Attributes:
        request_id: unique among the requests in flight.
        prompt_token_ids: at least one, each below the vocabulary's size.
        max_tokens: resolved: 1 to (context - prompt length).
        eos_token_ids: ids that end a choice with reason "stop"; empty where `ignore_eos` is set.
        seed: resolved, so that a request can be run again.
        priority: lower runs earlier under the priority policy.
    """

    request_id: str
    prompt_token_ids: list[int]
    params: SamplingParams
    max_tokens: int
    eos_token_ids: frozenset[int] = frozenset()
    seed: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probabilities at one generated position.

    `top` holds (token id, logprob) pairs, likeliest first, as many as the request asked for.
    """

    logprob: float
    rank: int
    top: list[tuple[int, float]]


@dataclass(slots=True, kw_only=True)
class RequestUpdate:
    """What one step gave one choice of one request.

    The last update of a choice, and only that one, has a `finish_reason`; if it is "error", `error` says why.
    """

    request_id: str
    choice_index: int
    new_token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None  # one per new token, where asked for
    finish_reason: FinishReason | None = None
    stop_reason: int | None = None  # the stop token id that ended it, unless it is an end-of-sequence id
    error: str | None = None
    metrics: RequestMetrics = field(default_factory=RequestMetrics)
