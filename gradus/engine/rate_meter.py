"""How fast the engine has been of late, and what that says about when a queue will be worked off.

Knows tokens and seconds of work; idle time does not count.
"""

import math

MEMORY_SECONDS = 30.0  # of work; what was measured so long ago weighs 1/e of what is measured now
MOST_SECONDS = 600.0
UNKNOWN_SECONDS = 5.0  # where nothing has been measured yet


class RateMeter:
    """An exponentially fading sum of tokens over one of seconds. One thread writes, any may read."""

    def __init__(self) -> None:
        self._sums = (0.0, 0.0)  # tokens, seconds; replaced as one, so that readers see a pair

    def add(self, num_tokens: int, seconds: float) -> None:
        """A step computed so many tokens in so many seconds."""
        tokens, elapsed = self._sums
        kept = math.exp(-seconds / MEMORY_SECONDS)
        self._sums = (tokens * kept + num_tokens, elapsed * kept + seconds)

    @property
    def tokens_per_second(self) -> float | None:
        """None before anything was measured."""
        tokens, elapsed = self._sums
        return tokens / elapsed if tokens and elapsed else None

    def seconds_for(self, num_tokens: float) -> float:
        """How long so many tokens will take at the measured rate, from 1 second to ten minutes."""
        rate = self.tokens_per_second
        return UNKNOWN_SECONDS if rate is None else min(max(num_tokens / rate, 1.0), MOST_SECONDS)
