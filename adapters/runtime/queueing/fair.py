"""A queue that is fair between flows: whoever floods it waits behind its own flood.

Flows take turns, an item a turn (round robin), so an item of a quiet flow waits for one item of every other flow, not
for all of them. A flow exists only while it has items: ten thousand heads cost nothing when they are not asked.

Of the threads that wait, the last to come is the first to go: its core is awake and its caches are warm.
"""

import threading
from collections import deque
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Items by flow; put from anywhere, taken by threads that wait for them."""

    def __init__(self) -> None:
        self._first: deque[T] = deque()
        self._flows: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()  # flows that have items, whose turn is next first
        self.waiting = 0  # items in flows
        self._lock = threading.Lock()
        # Where threads sleep, in C, each in its own: what they have in common would wake the one that slept longest.
        self._idle: list[SimpleQueue[None]] = []
        self._closed = False

    def put(self, flow: str, item: T) -> None:
        """Add an item to a flow."""
        with self._lock:
            items = self._flows.get(flow)
            if items is None:
                items = self._flows[flow] = deque()
                self._turns.append(flow)
            items.append(item)
            self.waiting += 1
            self._wake()

    def put_first(self, item: T) -> None:
        """Add an item that goes before all flows: the last small step of something that has waited already."""
        with self._lock:
            self._first.append(item)
            self._wake()

    def take(self) -> T | None:
        """The next item, waiting for one if need be; None once the queue is closed."""
        while True:
            with self._lock:
                if self._first:
                    return self._first.popleft()
                if self._turns:
                    return self._next()
                if self._closed:
                    return None
                bed: SimpleQueue[None] = SimpleQueue()
                self._idle.append(bed)
            bed.get()

    def _wake(self) -> None:
        if self._idle:
            self._idle.pop().put(None)

    def _next(self) -> T:
        flow = self._turns.popleft()
        items = self._flows[flow]
        if len(items) > 1:
            self._turns.append(flow)
        else:
            del self._flows[flow]
        self.waiting -= 1
        return items.popleft()

    def ahead(self, flow: str, count: int) -> int:
        """Items taken until the last of `count` more of a flow is, if nothing else comes."""
        flows = len(self._flows) + (flow not in self._flows)
        own = len(self._flows.get(flow, ())) + count
        return min(self.waiting + count, own * flows)

    def close(self) -> list[T]:
        """Wake all takers with None; returns what was not taken."""
        with self._lock:
            left = [*self._first, *(item for items in self._flows.values() for item in items)]
            self._first.clear()
            self._flows.clear()
            self._turns.clear()
            self.waiting = 0
            self._closed = True
            while self._idle:
                self._wake()
        return left
