"""Counts of what was answered, in memory, until somebody takes them to the database."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Protocol, TypeAlias

from adapters.drift.windows import Window
from adapters.monitoring.bins import Bins
from adapters.rollout.facts import Counts
from adapters.runtime.heads.loaded import LiveHead

Trials: TypeAlias = dict[tuple[str, str], Counts]  # by head and roll-out
Windows: TypeAlias = dict[tuple[str, int, int], Window]  # by head, version and hour
HOUR = 3600  # seconds
MOST = 10_000  # windows that wait for a database that is away


class Said(Protocol):
    """What one head says of one input."""

    @property
    def head(self) -> LiveHead: ...

    @property
    def answer(self) -> dict[str, Any]: ...


class Tally:
    """Any thread may count; a lock is held for some look-ups and additions."""

    def __init__(self) -> None:
        self._trials: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
        self._windows: dict[tuple[str, int], tuple[Bins, Window]] = {}
        self._late: Windows = {}  # of before, which the database did not take
        self._lock = threading.Lock()

    def add(self, head: str, rollout_id: str, more: Counts) -> None:
        """Count for a roll-out."""
        with self._lock:
            self._trials[head, rollout_id] = self._trials[head, rollout_id].plus(more)

    def answered(self, said: Iterable[Said]) -> None:
        """Count answers by version, label and novelty."""
        with self._lock:
            for one in said:
                version = one.head.version
                found = self._windows.get((version.head, version.number)) or self._open(one.head)
                found[0].count(found[1], one.answer)

    def take_trials(self) -> Trials:
        """What was counted for roll-outs since it was last taken."""
        with self._lock:
            found, self._trials = self._trials, defaultdict(Counts)
        return dict(found)

    def take_windows(self) -> Windows:
        """Answers that were counted since they were last taken: those of the present hour."""
        hour = int(time.time() // HOUR)
        with self._lock:
            found, self._windows = self._windows, {}
            late, self._late = self._late, {}
        fresh = {(*key, hour): window for key, (_, window) in found.items()}
        return fresh | {key: window.plus(fresh.get(key, Window())) for key, window in late.items()}

    def put_back(self, windows: Windows) -> None:
        """For the next time: one thread takes and puts back. Beyond MOST they are lost, not kept for ever."""
        with self._lock:
            self._late = dict(list(windows.items())[:MOST])

    def _open(self, head: LiveHead) -> tuple[Bins, Window]:
        # Made anew for each window, in microseconds: were they kept, those of versions that nobody asks any more would
        # take 3 KB each.
        found = Bins.of(head), Window()
        self._windows[head.version.head, head.version.number] = found
        return found
