"""`LruCache`: a bounded number of values, each made once, the least recently used one dropped first.

Knows nothing of what it holds. Safe to use from several threads.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """At most `max_entries` values of together at most `max_weight`; the newest stays, whatever it weighs."""

    def __init__(self, max_entries: int, max_weight: int | None = None) -> None:
        self.max_entries = max_entries
        self.max_weight = max_weight
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get_or_make(self, key: K, make: Callable[[], V], weight: int = 0) -> V:
        """The key's value, made now if there is none; `make` must be quick, since others wait for it."""
        with self._lock:
            if key not in self._values:
                self._values[key] = make(), weight
                self._weight += weight
            self._values.move_to_end(key)
            while self._is_too_full():
                _, (_, dropped) = self._values.popitem(last=False)
                self._weight -= dropped
            return self._values[key][0]

    def _is_too_full(self) -> bool:
        is_heavy = self.max_weight is not None and self._weight > self.max_weight
        return len(self._values) > self.max_entries or (is_heavy and len(self._values) > 1)
