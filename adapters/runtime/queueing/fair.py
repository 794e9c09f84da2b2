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
STEPS = 64  # of one ordinary item's load: floats add and take away multiples of it exactly, so that sums end at zero


def stepped(load: float) -> float:
    """A load in such steps, no less than one of them."""
    return max(1, round(load * STEPS)) / STEPS


class FairQueue(Generic[T]):
    """Items by flow; put from anywhere, taken by threads that wait for them."""

    def __init__(self) -> None:
        self._first: deque[T] = deque()
        self._flows: dict[str, deque[tuple[T, float]]] = {}  # with its load
        self._loads: dict[str, float] = {}  # of flows
        self._turns: deque[str] = deque()  # flows that have items, whose turn is next first
        self.waiting = 0.0  # load of the items in flows
        self._lock = threading.Lock()
        # Where threads sleep, in C, each in its own: what they have in common would wake the one that slept longest.
        self._idle: list[SimpleQueue[None]] = []
        self._closed = False

    def put(self, flow: str, item: T, load: float = 1.0) -> None:
        """Add an item to a flow; `load`, in whole steps: how many ordinary items it is worth."""
        with self._lock:
            items = self._flows.get(flow)
            if items is None:
                items = self._flows[flow] = deque()
                self._turns.append(flow)
                self._loads[flow] = 0.0
            items.append((item, load))
            self._loads[flow] += load
            self.waiting += load
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
        item, load = items.popleft()
        if items:
            self._turns.append(flow)
            self._loads[flow] -= load
        else:
            del self._flows[flow], self._loads[flow]
        self.waiting -= load
        return item

    def ahead(self, flow: str, load: float) -> float:
        """Load taken until the last of so much more of a flow is, if nothing else comes and flows' items are alike."""
        flows = len(self._flows) + (flow not in self._flows)
        own = self._loads.get(flow, 0.0) + load
        return min(self.waiting + load, own * flows)

    def close(self) -> list[T]:
        """Wake all takers with None; returns what was not taken."""
        with self._lock:
            left = [*self._first, *(item for items in self._flows.values() for item, _ in items)]
            self._first.clear()
            self._flows.clear()
            self._loads.clear()
            self._turns.clear()
            self.waiting = 0.0
            self._closed = True
            while self._idle:
                self._wake()
        return left
