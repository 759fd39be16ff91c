"""What a request gives back: text, token ids, logprobs, finish reason and times.

Names follow vLLM's `RequestOutput`. Plain values; nothing here computes.
"""

from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True, slots=True)
class Logprob:
    """One token's natural-log probability under the unmodified softmax of the logits.

    `rank` is 1 for the likeliest token of the position.
    """

    logprob: float
    rank: int
    decoded_token: str | None = None


@dataclass(slots=True)
class RequestMetrics:
    """Times in seconds of `time.monotonic()`, None until they happened; counts in tokens.

    For a request of several choices the times and counts are the first choice's.

    Attributes:
        num_steps: steps that computed something of the request, its prompt included.
        num_co_batched: the sum over these steps of how many requests were in each, this one included.
        grammar_seconds: its steps' time for the masks of grammars; None where it has no grammar.
    """

    queued_time: float = 0.0
    first_scheduled_time: float | None = None
    first_token_time: float | None = None
    finished_time: float | None = None
    num_computed_prompt_tokens: int = 0
    num_cached_prompt_tokens: int = 0
    num_preemptions: int = 0
    num_steps: int = 0
    num_co_batched: int = 0
    grammar_seconds: float | None = None

    def add_grammar_time(self, seconds: float) -> None:
        self.grammar_seconds = (self.grammar_seconds or 0.0) + seconds


@dataclass(slots=True)
class CompletionOutput:
    """One choice of a request.

    Attributes:
        index: 0 to n - 1.
        logprobs: per generated token, token id -> `Logprob`; the sampled token is always among them.
        stop_reason: the stop string or token id that ended it; None for end-of-sequence.
    """

    index: int
    text: str
    token_ids: list[int]
    cumulative_logprob: float | None = None
    logprobs: list[dict[int, Logprob]] | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestOutput:
    """A request's prompt and its choices, complete or so far."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]
    finished: bool
    prompt_logprobs: list[dict[int, Logprob] | None] | None = None  # per prompt token; None for the first
    metrics: RequestMetrics = field(default_factory=RequestMetrics)


@dataclass(frozen=True, slots=True)
class EmbeddingOutput:
    """A vector of the model's hidden size."""

    embedding: list[float]


@dataclass(frozen=True, slots=True)
class EmbeddingRequestOutput:
    """A prompt and its embedding."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int]
    outputs: EmbeddingOutput
    finished: bool = True
