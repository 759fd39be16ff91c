"""What a client saw of one request: when text came, what the server counted, or why there was no answer."""

from dataclasses import dataclass, field

from gradus.bench.timings import RequestTiming


@dataclass(slots=True)
class Answered:
    """One request that has ended. Times are seconds from the run's beginning.

    Attributes:
        arrivals: when each chunk with new tokens came; it may have several, and be known by its text alone.
        num_prompt_tokens, num_output_tokens: by the server's usage; None: it said nothing.
        error: why it failed; None: it did not.
    """

    start: float
    end: float = 0.0
    arrivals: list[float] = field(default_factory=list)
    text: str = ""
    num_prompt_tokens: int | None = None
    num_output_tokens: int | None = None
    finish_reason: str | None = None
    error: str | None = None

    @property
    def timing(self) -> RequestTiming | None:
        """For the usual figures; None of a request that failed."""
        if self.error is not None or self.num_prompt_tokens is None or self.num_output_tokens is None:
            return None
        first = self.arrivals[0] if self.arrivals else self.end
        return RequestTiming(
            self.start, first, self.end, self.num_prompt_tokens, self.num_output_tokens, self.arrivals
        )
