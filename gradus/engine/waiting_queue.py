"""The order in which requests wait: arrival under fcfs, (priority, arrival) under priority.

A preempted request keeps its key and so comes back to its old place, ahead of all that arrived later.
"""

import heapq

from gradus.engine.request import Request, SortKey


class WaitingQueue:
    """A heap. A discarded request's entry stays until it surfaces or such entries are the majority."""

    def __init__(self) -> None:
        self._heap: list[tuple[SortKey, Request]] = []
        self._discarded: set[SortKey] = set()
        self.num_tokens = 0  # of all requests in it; a request's do not change while it waits

    def __len__(self) -> int:
        return len(self._heap) - len(self._discarded)

    def push(self, request: Request) -> None:
        heapq.heappush(self._heap, (request.sort_key, request))
        self.num_tokens += request.num_tokens

    def peek(self) -> Request:
        """The next request; the queue must not be empty."""
        while self._heap[0][0] in self._discarded:
            self._discarded.remove(heapq.heappop(self._heap)[0])
        return self._heap[0][1]

    def pop(self) -> Request:
        request = self.peek()
        heapq.heappop(self._heap)
        self.num_tokens -= request.num_tokens
        return request

    def discard(self, request: Request) -> None:
        """Take out a request that is in the queue and will never be again."""
        self._discarded.add(request.sort_key)
        self.num_tokens -= request.num_tokens
        if len(self._discarded) * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[0] not in self._discarded]
            heapq.heapify(self._heap)
            self._discarded.clear()
