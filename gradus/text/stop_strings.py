"""Finding stop strings in a growing text, without letting out any part of one.

The match that is complete first ends the text; of two that are complete at the same character, the longer.
That rule needs no look-ahead, so the result does not depend on how the text is cut into deltas.
Knows nothing of tokens.
"""

from collections.abc import Sequence
from functools import lru_cache


class StopMatcher:
    """Matches several strings at once; one Knuth-Morris-Pratt automaton each, one step per character."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._patterns = [(string, _fallbacks(string)) for string in stop]
        self._states = [0] * len(self._patterns)  # characters of each string that the text ends with
        self._held = ""  # the end of the text: it may yet become a stop string
        self.matched: str | None = None

    def push(self, delta: str, may_end: bool = True) -> str:
        """Append to the text; returns what can be let out. After a match (`matched`) nothing comes.

        Where the text may not end yet, a stop string that is complete is text like any other.
        """
        if not self._patterns:
            return delta
        if self.matched is not None:
            return ""
        text = self._held + delta
        for end in range(len(self._held), len(text)):
            if found := self._step(text[end], may_end):
                self.matched, self._held = found, ""
                return text[: end + 1 - len(found)]
        kept = len(text) - max(self._states)
        self._held = text[kept:]
        return text[:kept]

    def flush(self) -> str:
        """The text held back; it ends here without a match."""
        held, self._held = self._held, ""
        return held

    def _step(self, char: str, may_end: bool) -> str | None:
        """Advance every automaton; returns the longest string that is now complete, if the text may end."""
        found: str | None = None
        for i, (string, fallbacks) in enumerate(self._patterns):
            state = self._states[i]
            while state and string[state] != char:
                state = fallbacks[state - 1]
            if string[state] == char:
                state += 1
            if state == len(string) and not may_end:
                state = fallbacks[state - 1]
            self._states[i] = state
            if state == len(string) and (found is None or len(string) > len(found)):
                found = string
        return found


@lru_cache(maxsize=256)
def _fallbacks(string: str) -> tuple[int, ...]:
    """For each prefix, the length of its longest proper prefix that is also its suffix.

    Source: Knuth, Morris, Pratt 1977.
    """
    table = [0] * len(string)
    length = 0
    for i in range(1, len(string)):
        while length and string[i] != string[length]:
            length = table[length - 1]
        if string[i] == string[length]:
            length += 1
        table[i] = length
    return tuple(table)
