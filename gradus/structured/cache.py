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
    def __init__(self, max_entries: int) -> None:
        self.max_entries = max_entries
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: K) -> bool:
        return key in self._values

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """The key's value, made now if there is none; `make` must be quick, since others wait for it."""
        with self._lock:
            value = self._values.get(key)
            if value is None:
                value = self._values[key] = make()
            self._values.move_to_end(key)
            if len(self._values) > self.max_entries:
                self._values.popitem(last=False)
            return value
