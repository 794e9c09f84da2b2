"""Runs of one deep head on a GPU, where a run of several inputs takes about as long as a run of one.

Lanes that ask the same head while it runs wait for that run, and one of them takes all that has gathered through the
next. Nobody waits for company: what comes while nothing runs is run at once. Batches are padded to few sizes, as
cuDNN chooses anew for each.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from adapters import arrays
from adapters.runtime.backbone import GPU_BATCHES
from adapters.runtime.heads import pairs
from adapters.types import Arrays, Rows

Run = Callable[[Rows], Arrays]  # what a head reads of N inputs → its outputs, N first


@dataclass(slots=True, eq=False)
class _Call:
    rows: Rows
    turn: threading.Event = field(default_factory=threading.Event)  # it is settled, or it is its turn to run
    said: Arrays | Exception | None = None


class Gathered:
    """One head's runs, one at a time, each of what has gathered; called from any thread."""

    def __init__(self, run: Run, sizes: Sequence[int] = GPU_BATCHES) -> None:
        self._run, self._sizes = run, sizes
        self._lock = threading.Lock()
        self._waiting: deque[_Call] = deque()
        self._running = False

    def __call__(self, rows: Rows) -> Arrays:
        """What a head says of N ≥ 1 inputs. What goes wrong with one caller's inputs goes wrong for that caller."""
        call = _Call(rows)
        if not self._at_once(call):
            call.turn.wait()
        if call.said is None:
            self._pass()
        if isinstance(call.said, Exception):
            raise call.said
        assert call.said is not None
        return call.said

    def _at_once(self, call: _Call) -> bool:
        with self._lock:
            self._waiting.append(call)
            idle, self._running = not self._running, True
            return idle

    def _pass(self) -> None:
        """By the caller that has waited longest: run what waits, then it is another one's turn."""
        with self._lock:
            batch = self._take()
        self._settle(batch)
        with self._lock:
            following = self._waiting[0] if self._waiting else None
            self._running = following is not None
        for call in batch[1:]:
            call.turn.set()
        if following is not None:
            following.turn.set()

    def _take(self) -> list[_Call]:
        batch = [self._waiting.popleft()]
        left = self._sizes[-1] - len(batch[0].rows)
        while self._waiting and len(self._waiting[0].rows) <= left:
            batch.append(self._waiting.popleft())
            left -= len(batch[-1].rows)
        return batch

    def _settle(self, batch: Sequence[_Call]) -> None:
        """One run; where it fails each caller has one of its own."""
        try:
            said = self._padded(pairs.joined([call.rows for call in batch]))
        except Exception as error:
            if len(batch) == 1:
                batch[0].said = error
                return
            for call in batch:
                self._settle([call])
            return
        start = 0
        for call in batch:
            call.said = arrays.take(said, slice(start, start + len(call.rows)))
            start += len(call.rows)

    def _padded(self, rows: Rows) -> Arrays:
        """With the last input again until it is a size; more than the largest go as they are."""
        count = len(rows)
        size = next((size for size in self._sizes if size >= count), count)
        chosen = np.minimum(np.arange(size), count - 1)
        return arrays.take(self._run(rows if size == count else rows[chosen]), slice(count))
