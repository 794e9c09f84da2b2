"""Counts of what was answered, in memory, until somebody takes them to the database."""

import threading
from collections import defaultdict

from adapters.rollout.facts import Counts


class Tally:
    """Counts by roll-out, (head, id). Any thread may count; a lock is held for a look-up and an addition."""

    def __init__(self) -> None:
        self._counts: defaultdict[tuple[str, str], Counts] = defaultdict(Counts)
        self._lock = threading.Lock()

    def add(self, head: str, rollout_id: str, more: Counts) -> None:
        """Count."""
        with self._lock:
            self._counts[head, rollout_id] = self._counts[head, rollout_id].plus(more)

    def take(self) -> dict[tuple[str, str], Counts]:
        """What was counted since it was last taken."""
        with self._lock:
            found, self._counts = self._counts, defaultdict(Counts)
        return dict(found)
