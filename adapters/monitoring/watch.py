"""How many heads drift, for a metric: those that this process was asked for, looked at in turn."""

import time
from collections import Counter
from collections.abc import Iterable

from sqlalchemy.engine import Engine

from adapters.errors import NotFound
from adapters.monitoring import drift
from adapters.store import heads
from adapters.store.drift import windows
from adapters.types import HeadRef

AT_A_TIME = 50  # versions a look: two small queries each
HOURS = 24  # of answers that are looked at
MOST = 10_000  # versions
MOST_OF_HEAD = 4  # versions: live, a candidate, and others that somebody asks for by their numbers
KINDS, LEVELS = ("labels", "novelty"), ("none", "moderate", "major", "unknown")
Key = tuple[str, int]  # head and version


class DriftWatch:
    """Used by one thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due: dict[Key, None] = {}  # in the order in which they came
        # When it was looked at, and the levels by kind; in that order.
        self._levels: dict[Key, tuple[float, tuple[str, ...]]] = {}

    def asked(self, keys: Iterable[Key]) -> None:
        """Versions that answered something since the last look."""
        for key in keys:
            if len(self._due) < MOST:
                self._due.setdefault(key)

    def look(self) -> Counter[tuple[str, str]]:
        """Look at some of those that are due; gives how many versions have each (kind, level). What was not asked for a
        day counts no more, nor what was deleted, nor of one head more versions than the last few."""
        for key in list(self._due)[:AT_A_TIME]:
            del self._due[key]
            self._look_at(key)
        self._forget()
        pairs = (zip(KINDS, levels, strict=True) for _, levels in self._levels.values())
        return Counter(pair for found in pairs for pair in found)

    def _forget(self) -> None:
        """A head that is taught every minute has a thousand versions a day, of which nobody asks for the older ones."""
        old = time.monotonic() - HOURS * 3600
        there = windows.existing(self._engine, list(self._levels))
        newest, seen = dict(list(reversed(self._levels.items()))[:MOST]), Counter[str]()
        for key, (looked, _) in newest.copy().items():
            seen[key[0]] += 1
            if key not in there or looked <= old or seen[key[0]] > MOST_OF_HEAD:
                del newest[key]
        self._levels = dict(reversed(newest.items()))  # the one that was looked at last is the last, as before

    def _look_at(self, key: Key) -> None:
        name, number = key
        self._levels.pop(key, None)
        try:
            version = heads.resolve(self._engine, HeadRef(name, version=number))
        except NotFound:
            return
        figures = drift.look(self._engine, version, HOURS)
        levels = tuple("unknown" if figures[kind] is None else figures[kind]["level"] for kind in KINDS)
        self._levels[key] = time.monotonic(), levels
